"""The names under which the gateway answers.

A page of another site may have its own name point to this machine (DNS rebinding) and then read the answers as if
they were its own. The Host header tells: a browser sends the name in its address bar.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence

import psutil
from starlette.datastructures import Headers
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from densenet_serving.errors import ServingError
from densenet_serving.gateway.errors import BadRequest
from densenet_serving.gateway.settings import GatewaySettings

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
HOST_NAME = re.compile(r"\*|(\*\.)?[^\s*/:@]+")
SHOWN = 100  # characters of a header in a message


class KnownHosts:
    """ASGI middleware that refuses requests for another host. Starlette compares, but its refusal is no JSON."""

    def __init__(self, app: ASGIApp, names: Sequence[str]) -> None:
        self._app = app
        self._compare = TrustedHostMiddleware(_mark_as_known, names, www_redirect=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            marked: Scope = {**scope}
            await self._compare(marked, receive, _discard)
            if not marked.get("known"):
                await unknown(Headers(scope=scope).get("host", "")).response()(scope, receive, send)
                return
        await self._app(scope, receive, send)


def known_hosts(settings: GatewaySettings) -> list[str]:
    """List the names of this gateway, each as in a Host header but without the port."""
    return [*LOOPBACK, *own_names(settings.host), *(host_name(name) for name in settings.allowed_hosts)]


def own_names(host: str) -> list[str]:
    """List the address it listens on; if that is every address, all of this machine's addresses and its name."""
    if host not in ("0.0.0.0", "::"):  # noqa: S104
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


def unknown(host: str) -> BadRequest:
    return BadRequest(
        f"The gateway does not answer under the name {host[:SHOWN]!r}: densenet web --allowed-host NAME adds one."
    )


async def _mark_as_known(scope: Scope, _: Receive, __: Send) -> None:
    scope["known"] = True


async def _discard(_: Message) -> None:
    """Do not send Starlette's own refusal."""
