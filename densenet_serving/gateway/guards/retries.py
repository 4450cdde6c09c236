"""Whether a load balancer may send a refused request to another host.

If this host alone is full, another one helps. If all are, each refusal that is sent on makes it worse. The rule is
gRPC's retry throttling (gRFC A6), counted here since Envoy's retry budget counts requests in flight, and a refusal is
over in a millisecond: a full bucket of tokens, of which each refusal takes one and each answer gives a part back.
"""

from __future__ import annotations

from http import HTTPStatus

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# The numbers of gRFC A6: https://github.com/grpc/proposal/blob/master/A6-client-retries.md#throttling-retry-attempts-and-hedged-rpcs
MOST_TOKENS = 10.0
TOKENS_OF_AN_ANSWER = 0.1
# Envoy retries no answer that has it, whatever its status: configuration/http/http_filters/router_filter in its
# documentation, under x-envoy-retry-on. Others ignore it.
NO_RETRY = "X-Envoy-RateLimited"


class RetryThrottle:
    """ASGI middleware that marks refusals of a full host, those with Retry-After, once there are too many."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._tokens = MOST_TOKENS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if message["status"] != HTTPStatus.SERVICE_UNAVAILABLE:
                    self._tokens = min(MOST_TOKENS, self._tokens + TOKENS_OF_AN_ANSWER)
                elif "Retry-After" in headers and not self._take():
                    headers[NO_RETRY] = "true"
            await send(message)

        await self._app(scope, receive, send_marked)

    def _take(self) -> bool:
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
