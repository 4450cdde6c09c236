"""The names under which the gateway answers, and the origins whose pages may post.

A page of another site may have its own name point to this machine (DNS rebinding) and then read the answers as if
they were its own: the Host header tells, since a browser sends the name in its address bar. It may also post a form
here with all that the browser keeps of the visitor: the Origin header tells.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

import psutil
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from densenet_serving.errors import ServingError
from densenet_serving.gateway.errors import Forbidden, response_to
from densenet_serving.gateway.settings import GatewaySettings
from handler.errors import BadRequest, RequestError

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104
HOST_NAME = re.compile(r"\*|(\*\.)?[^\s*/:@]+")
HOST_HEADER = re.compile(r"(\[[^]]*\]|[^:]*)(:\d*)?")
READING = ("GET", "HEAD", "OPTIONS")
SHOWN = 100  # characters of a header in a message


class KnownHosts:
    """ASGI middleware that refuses requests for another host. A name as *.example.org stands for all below it."""

    def __init__(self, app: ASGIApp, names: Sequence[str]) -> None:
        self._app = app
        self._names = {name.lower() for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = "" if scope["type"] == "lifespan" else Headers(scope=scope).get("host", "")
        known = scope["type"] == "lifespan" or self._knows(host)
        await (self._app if known else response_to(unknown(host)))(scope, receive, send)

    def _knows(self, host: str) -> bool:
        found = HOST_HEADER.fullmatch(host.lower())
        name = found[1] if found else ""
        above = name.split(".")
        wildcards = {"*." + ".".join(above[i:]) for i in range(1, len(above))}
        return not self._names.isdisjoint({"*", name, *wildcards})


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
        allowed = scope["type"] != "http" or scope["method"] in READING or self._is_allowed(headers)
        await (self._app if allowed else response_to(foreign(headers)))(scope, receive, send)

    def _is_allowed(self, headers: Headers) -> bool:
        origin = headers.get("origin")
        if origin is None or origin in self._named or "*" in self._named:
            return True
        return origin.partition("://")[2] == headers.get("host") or host_of(origin) in self._hosts


def known_hosts(settings: GatewaySettings) -> list[str]:
    """List the names of this gateway, each as in a Host header but without the port."""
    return [*LOOPBACK, *own_names(settings.host), *(host_name(name) for name in settings.allowed_hosts)]


def own_names(host: str) -> list[str]:
    """List the address it listens on; if that is every address, all of this machine's addresses and its name."""
    if host not in EVERY_ADDRESS:
        return [host_name(host)]
    families = (socket.AF_INET, socket.AF_INET6)
    found = [address for addresses in psutil.net_if_addrs().values() for address in addresses]
    numbers = [address.address.partition("%")[0] for address in found if address.family in families]
    return [*(host_name(number) for number in numbers), socket.gethostname()]


def host_name(text: str) -> str:
    """Write a name or an address as a Host header has it. Raises ServingError if the text is neither."""
    try:
        address = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        if not HOST_NAME.fullmatch(text):
            raise ServingError(f"{text} is no host: write it as photos.example.org, without scheme and port.") from None
        return text
    return f"[{address}]" if address.version == 6 else str(address)


def host_of(origin: str) -> str | None:
    """Return the host of an origin as a Host header has it, without the port; None if it has none."""
    try:
        host = urlsplit(origin).hostname
    except ValueError:
        return None
    return host and (f"[{host}]" if ":" in host else host)


def unknown(host: str) -> RequestError:
    return BadRequest(
        f"The gateway does not answer under the name {host[:SHOWN]!r}: densenet web --allowed-host NAME adds one."
    )


def foreign(headers: Headers) -> RequestError:
    origin, host = headers.get("origin", "")[:SHOWN], headers.get("host", "")[:SHOWN]
    return Forbidden(
        f"A page of the origin {origin!r} sent this to the host {host!r}: if a proxy changed the host, give densenet "
        f"web --allowed-host {host_of(origin) or 'NAME'}, and for a page of another site --cors-origin and its origin."
    )
