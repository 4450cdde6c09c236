"""Names the client of a request, for the limits that count by client: its API key, or else its address."""

from __future__ import annotations

import ipaddress
from contextvars import ContextVar

from densenet_serving.errors import ServingError

IPV6_NETWORK = 64  # the prefix that a provider gives one subscriber

# guards/access.py sets it for each request, before any route. Work for no request has the empty name.
current: ContextVar[str] = ContextVar("client", default="")


def with_key(name: str) -> str:
    """Name the client that has a key, unlike any address."""
    return f"key {name}"


def network_of(address: str) -> str:
    """Return what one client has: an IPv4 address, or the network of an IPv6 address. Other text is returned as is."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:  # a proxy's X-Forwarded-For may hold any text
        return address
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, IPV6_NETWORK), strict=False))
    return address


def network(text: str) -> str:
    """Read the address or network of a proxy. Raises ServingError."""
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise ServingError(f"--proxy {text} is no address: write it as 10.0.0.5, or a network as 10.0.0.0/8.") from None
