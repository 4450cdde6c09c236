"""API keys: once there is one, only the two health checks are answered without it."""

from __future__ import annotations

import base64
import binascii
import math

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from densenet_serving.errors import ServingError
from densenet_serving.gateway import clients
from densenet_serving.gateway.clients import Share, read_rate
from densenet_serving.gateway.errors import TooManyRequests, Unauthorized, response_to
from densenet_serving.gateway.keys import ApiKeys
from handler.errors import RequestError, ServiceUnavailable

OPEN_PATHS = ("/healthz", "/readyz", "/metrics")
# These make TorchServe work. The rest are pages and their files.
COUNTED_METHODS = ("POST", "PUT")
NO_KEY = "An API key is needed: send it as Authorization: Bearer KEY."
WRONG_KEY = "The API key is not valid: densenet keys add NAME makes a new one."
# The second makes a browser ask a person for the key. Chromium only does if it is in a header line of its own.
CHALLENGES = ("Bearer", 'Basic realm="any name, the API key as password", charset="UTF-8"')


class Access:
    """ASGI middleware around all routes, so that none can be left open by mistake."""

    def __init__(self, app: ASGIApp, keys: ApiKeys, rate: str) -> None:
        self._app = app
        self._keys = keys
        self._rate = rate
        requests, seconds = read_rate(rate)
        self._requests = Share(requests / seconds, requests)  # of each key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        guarded = scope["type"] != "lifespan" and scope["path"] not in OPEN_PATHS
        clients.current.set(clients.network_of(scope["client"][0]) if scope.get("client") else "")
        if guarded and self._keys.enforced:
            try:
                clients.current.set(clients.with_key(self._check(scope)))
            except RequestError as error:
                response = response_to(error)
                if isinstance(error, Unauthorized):
                    for challenge in CHALLENGES:
                        response.headers.append("WWW-Authenticate", challenge)
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> str:
        """Return the name of the request's key. Raises Unauthorized, TooManyRequests or ServiceUnavailable."""
        key = key_of(Headers(scope=scope).get("authorization", ""))
        if not key:
            raise Unauthorized(NO_KEY)
        try:
            name = self._keys.name_of(key)
        except (ServingError, OSError) as error:
            raise ServiceUnavailable("The gateway cannot read its API keys: densenet keys list says why.") from error
        if name is None:
            raise Unauthorized(WRONG_KEY)
        if scope.get("method") in COUNTED_METHODS:
            self._count(name)
        return name

    def _count(self, name: str) -> None:
        """Count a request of a key. Raises TooManyRequests."""
        if wait := math.ceil(self._requests.wait(name, 1)):
            raise TooManyRequests(f"The key {name} may make {self._rate} requests: wait {wait} s.", wait)
        self._requests.spend(name, 1)


def key_of(authorization: str) -> str:
    """Return the key in `Bearer KEY`, or in `Basic`, where a browser sends it as the password; "" if there is none."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value).decode().partition(":")[2]
        except (binascii.Error, ValueError):
            return ""
    return ""
