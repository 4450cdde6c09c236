"""Who may ask: nothing but the two health checks passes without an API key, once there are keys."""

from __future__ import annotations

import base64
import binascii

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from scripts.errors import CommandError
from web.errors import GatewayError, ServiceUnavailable, Unauthorized
from web.keys import KeyFile
from web.limits import clients
from web.limits.rate import RateLimit

OPEN_PATHS = ("/healthz", "/readyz")
# What makes work. The rest is pages and their files.
COUNTED_METHODS = ("POST", "PUT")
NO_KEY = "An API key is needed: send it as Authorization: Bearer KEY."
WRONG_KEY = "The API key is not valid: ask for one, which densenet keys add NAME makes."
# A browser asks a person for the second one, but Chromium only where it stands on a line of its own.
CHALLENGES = ("Bearer", 'Basic realm="any name, the API key as password", charset="UTF-8"')


class Access:
    """ASGI middleware that stands before everything, so that no route can forget it."""

    def __init__(self, app: ASGIApp, keys: KeyFile, rate: RateLimit) -> None:
        self._app = app
        self._keys = keys
        self._rate = rate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        guarded = scope["type"] != "lifespan" and scope["path"] not in OPEN_PATHS
        clients.current.set(clients.of_address(scope))
        if guarded and self._keys.enforced:
            try:
                clients.current.set(clients.with_key(await self._check(scope)))
            except GatewayError as error:
                response = error.response()
                if isinstance(error, Unauthorized):
                    for challenge in CHALLENGES:
                        response.headers.append("WWW-Authenticate", challenge)
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _check(self, scope: Scope) -> str:
        """Return the name of the key."""
        key = key_of(Headers(scope=scope).get("authorization", ""))
        if not key:
            raise Unauthorized(NO_KEY)
        try:
            name = self._keys.name_of(key)
        except (CommandError, OSError) as error:
            raise ServiceUnavailable("The gateway cannot read its API keys: densenet keys list says why.") from error
        if name is None:
            raise Unauthorized(WRONG_KEY)
        if scope.get("method") in COUNTED_METHODS:
            await self._rate.count(name)
        return name


def key_of(authorization: str) -> str:
    """Take the key out of `Bearer KEY`, or out of `Basic`, as whose password a browser sends it."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value).decode().partition(":")[2]
        except (binascii.Error, ValueError):
            return ""
    return ""
