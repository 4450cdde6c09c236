"""The origins whose pages may post.

A page of another site may post a form here with all that the browser keeps of the visitor. The Origin header tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from densenet_serving.gateway.errors import Forbidden
from densenet_serving.gateway.guards.hosts import host_name

READING = ("GET", "HEAD", "OPTIONS")
SHOWN = 100  # characters of a header in a message


class OwnOrigin:
    """ASGI middleware that refuses every request but a reading one from pages of origins that nobody allowed.

    A browser sends the origin with every such request; other programs send none. A page is the gateway's own if its
    origin has the host and port of the Host header, or if its host is one of `hosts`, the names that the gateway was
    given: a proxy may put its own address into the Host header, and its port is not the gateway's. The scheme is not
    compared, since behind a proxy that ends TLS the browser's is https and the gateway's http. A name with a * allows
    no origin: pages of others may have such a name.
    """

    def __init__(self, app: ASGIApp, named: Sequence[str], hosts: Sequence[str]) -> None:
        self._app = app
        self._named = named
        self._hosts = {host_name(host).lower() for host in hosts if "*" not in host}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        if scope["type"] == "http" and scope["method"] not in READING and not self._is_allowed(headers):
            await foreign(headers).response()(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_allowed(self, headers: Headers) -> bool:
        origin = headers.get("origin")
        if origin is None or origin in self._named or "*" in self._named:
            return True
        return origin.partition("://")[2] == headers.get("host") or host_of(origin) in self._hosts


def host_of(origin: str) -> str | None:
    """Return the host of an origin as a Host header has it, without the port; None if it has none."""
    try:
        host = urlsplit(origin).hostname
    except ValueError:
        return None
    return host and (f"[{host}]" if ":" in host else host)


def foreign(headers: Headers) -> Forbidden:
    origin, host = headers.get("origin", "")[:SHOWN], headers.get("host", "")[:SHOWN]
    return Forbidden(
        f"A page of the origin {origin!r} sent this to the host {host!r}: if a proxy changed the host, give densenet "
        f"web --allowed-host {host_of(origin) or 'NAME'}, and for a page of another site --cors-origin and its origin."
    )
