"""The origins whose pages may post.

A page of another site may post a form here with all that the browser keeps of the visitor. The Origin header tells.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from web.errors import Forbidden

READING = ("GET", "HEAD", "OPTIONS")
FOREIGN_ORIGIN = "A page of another origin sent this: densenet web --cors-origin ORIGIN names those that may."


class OwnOrigin:
    """ASGI middleware that refuses every request but a reading one from pages of origins that nobody allowed.

    A browser sends the origin with every such request; other programs send none. The scheme is not compared, since
    behind a proxy that ends TLS the browser's is https and the gateway's http.
    """

    def __init__(self, app: ASGIApp, named: Sequence[str]) -> None:
        self._app = app
        self._named = named

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in READING and not self._is_allowed(Headers(scope=scope)):
            await Forbidden(FOREIGN_ORIGIN).response()(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_allowed(self, headers: Headers) -> bool:
        origin = headers.get("origin")
        if origin is None or origin in self._named or "*" in self._named:
            return True
        return origin.partition("://")[2] == headers.get("host")
