"""What stands before every route against other people's pages, which a visitor's browser runs and sends here.

A page of another site may post a form here, or have its own name point to this machine (DNS rebinding) and then read
the answers as if they were its own. Both are told by what the browser says of itself: Host and Origin.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence

import psutil
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scripts.errors import CommandError
from web.errors import BadRequest, Forbidden
from web.settings import GatewaySettings

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
# A route may say otherwise of its own answers; what is silent gets these.
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
READING = ("GET", "HEAD", "OPTIONS")
HOST_NAME = re.compile(r"\*|(\*\.)?[^\s*/:@]+")
UNKNOWN_HOST = "The gateway does not answer under this name: densenet web --allowed-host NAME adds one."
FOREIGN_ORIGIN = "A page of another origin sent this: densenet web --cors-origin ORIGIN names those that may."


class SafeHeaders:
    """ASGI wrapper that stands around everything, also around the answer to a bug."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class KnownHosts:
    """ASGI middleware that refuses what is addressed to another name. Starlette compares, its answer is plain text."""

    def __init__(self, app: ASGIApp, names: Sequence[str]) -> None:
        self._app = app
        self._compare = TrustedHostMiddleware(_mark_as_known, names, www_redirect=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            marked: Scope = {**scope}
            await self._compare(marked, receive, _discard)
            if not marked.get("known"):
                await BadRequest(UNKNOWN_HOST).response()(scope, receive, send)
                return
        await self._app(scope, receive, send)


class OwnOrigin:
    """ASGI middleware that refuses to change or compute anything for a page of an origin that nobody named.

    A browser says the origin with every such request; other programs say none. The scheme is not compared: behind a
    proxy that ends TLS, the browser's is https and this one's http.
    """

    def __init__(self, app: ASGIApp, named: Sequence[str]) -> None:
        self._app = app
        self._named = named

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in READING and not self._is_welcome(Headers(scope=scope)):
            await Forbidden(FOREIGN_ORIGIN).response()(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_welcome(self, headers: Headers) -> bool:
        origin = headers.get("origin")
        if origin is None or origin in self._named or "*" in self._named:
            return True
        return origin.partition("://")[2] == headers.get("host")


def known_hosts(settings: GatewaySettings) -> list[str]:
    """List the names, in the form of a Host header without its port, under which this gateway is meant."""
    return [*LOOPBACK, *own_names(settings.host), *(host_name(name) for name in settings.allowed_hosts)]


def own_names(host: str) -> list[str]:
    """Name the address that is listened on; where that is every address, those of this machine and its name."""
    if host not in ("0.0.0.0", "::"):  # noqa: S104
        return [host_name(host)]
    families = (socket.AF_INET, socket.AF_INET6)
    found = [address for addresses in psutil.net_if_addrs().values() for address in addresses]
    numbers = [address.address.partition("%")[0] for address in found if address.family in families]
    return [*(host_name(number) for number in numbers), socket.gethostname()]


def host_name(text: str) -> str:
    """Put a name or number as a Host header has it. Raises CommandError where it is neither."""
    try:
        address = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        if not HOST_NAME.fullmatch(text):
            raise CommandError(f"{text} is no host: write it as photos.example.org, without scheme and port.") from None
        return text
    return f"[{address}]" if address.version == 6 else str(address)


async def _mark_as_known(scope: Scope, _: Receive, __: Send) -> None:
    scope["known"] = True


async def _discard(_: Message) -> None:
    """Starlette's own refusal is not sent."""
