"""Who the client of a request is, its API key or else its address, and what each may use of what all share.

Shared are units over time, and passes of the event loop.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from contextvars import ContextVar

from densenet_serving.errors import ServingError

IPV6_NETWORK = 64  # the prefix that a provider gives one subscriber

# access.py sets it for each request, before any route. Work for no request has the empty name.
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


MOST_CLIENTS = 10_000  # if there are more, those that owe nothing are forgotten
RATE = re.compile(r"(\d+) *(?:/|per) *(second|minute|hour|day)")
SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


class Share:
    """Counts what each client uses, and forgets `rate` units a second. A client may use `at_once` units at once."""

    def __init__(self, rate: float, at_once: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._at_once = at_once
        self._clock = clock
        self._used: dict[str, tuple[float, float]] = {}  # units, and when they were counted

    def spend(self, client: str, units: float) -> None:
        """Count what a client used."""
        self._used[client] = (self._owed(client) + units, self._clock())
        if len(self._used) > MOST_CLIENTS:
            self._used = {name: used for name, used in self._used.items() if self._owed(name)}

    def wait(self, client: str, units: float = 0) -> float:
        """Return in how many seconds a client may use so many units more, 0 if it may now."""
        return max(0.0, self._owed(client) + units - self._at_once) / self._rate

    def _owed(self, client: str) -> float:
        units, counted = self._used.get(client, (0.0, 0.0))
        return max(0.0, units - (self._clock() - counted) * self._rate)


class Turns:
    """Does one piece of work in each pass of the event loop, for one client after the other.

    A request needs some ten passes, so it waits ten times for whatever else is done in one.
    """

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, deque[Callable[[], None]]] = OrderedDict()
        self._taken = False  # in this pass

    def add(self, client: str, work: Callable[[], None]) -> None:
        """Do a piece of work: at once if it is the first of this pass, or else when it is this client's turn."""
        self._waiting.setdefault(client, deque()).append(work)
        if not self._taken:
            self._do_next()

    def _do_next(self) -> None:
        self._taken = bool(self._waiting)
        if not self._waiting:
            return
        asyncio.get_running_loop().call_soon(self._do_next)
        client, pieces = self._waiting.popitem(last=False)
        work = pieces.popleft()
        if pieces:
            self._waiting[client] = pieces
        work()


def read_rate(text: str) -> tuple[int, int]:
    """Read a rate such as 600/minute. Returns a number and in how many seconds. Raises ServingError."""
    found = RATE.fullmatch(text.strip())
    if not found or not int(found[1]):
        raise ServingError(f"--rate {text} is no rate: write it as 10/second or 600/minute.")
    return int(found[1]), SECONDS[found[2]]
