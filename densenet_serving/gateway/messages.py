"""What holds for every request and answer: how requests are spelled, and the headers of answers."""

from __future__ import annotations

import re
from http import HTTPStatus

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

METHODS = {"HEAD": "GET", "PUT": "POST"}  # curl -T sends PUT
SLASHES = re.compile("/{2,}")
POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'self'",
    )
)
# What a browser may do with an answer. A route may set its own; these are the defaults.
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
# The numbers of gRFC A6: https://github.com/grpc/proposal/blob/master/A6-client-retries.md#throttling-retry-attempts-and-hedged-rpcs
MOST_TOKENS = 10.0
TOKENS_OF_AN_ANSWER = 0.1
# Envoy retries no answer that has it, whatever its status: configuration/http/http_filters/router_filter in its
# documentation, under x-envoy-retry-on. Others ignore it.
NO_RETRY = "X-Envoy-RateLimited"


class Spelling:
    """ASGI middleware outside all others: HEAD asks for what GET would get, PUT is POST, a slash too many is none.

    A redirect from /predict/ to /predict would lose the photo: many clients do not send a body again. The server below
    knows the method that was sent, and gives HEAD no body.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        path = SLASHES.sub("/", scope["path"]).rstrip("/") or "/"
        sent = scope["method"]
        spelled: Scope = {**scope, "path": path, "raw_path": path.encode(), "method": METHODS.get(sent, sent)}
        await self._app(spelled, receive, send_head if sent == "HEAD" else send)


class AnswerHeaders:
    """ASGI middleware around the whole application, so that also the answer to a bug has the headers.

    It also decides whether a load balancer may send a refused request to another host. If this host alone is full,
    another one helps. If all are, each refusal that is sent on makes it worse. The rule is gRPC's retry throttling
    (gRFC A6), counted here since Envoy's retry budget counts requests in flight, and a refusal is over in a
    millisecond: a full bucket of tokens, of which each refusal of a full host (503 with Retry-After) takes one and
    each answer gives a part back.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._tokens = MOST_TOKENS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if message["status"] != HTTPStatus.SERVICE_UNAVAILABLE:
                    self._tokens = min(MOST_TOKENS, self._tokens + TOKENS_OF_AN_ANSWER)
                elif "Retry-After" in headers:
                    self._count_refusal(headers)
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _count_refusal(self, headers: MutableHeaders) -> None:
        if self._tokens < 1:
            headers[NO_RETRY] = "true"
        else:
            self._tokens -= 1
