"""How much of the workers' time one client's images may take to decode.

An image costs what its decoding takes: one of 1.5 s as much as 300 usual photos of 5 ms. Without this a client pays by
the image, and the most expensive ones are the cheapest attack.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

MINUTE = 60.0
MOST_CLIENTS = 10_000  # whose account is looked at; those that owe nothing are forgotten


class DecodeShare:
    """Counts the seconds that each client's images took to decode, and forgets them at the rate of its share.

    A client's share is `share` of the time of all workers. It may spend a minute's worth of it at once.
    """

    def __init__(self, share: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.workers = 1
        self._share = share
        self._clock = clock
        self._spent: dict[str, tuple[float, float]] = {}  # seconds, and when they were counted

    def spend(self, client: str, seconds: float) -> None:
        """Count the decoding of one image."""
        if seconds > 0:
            self._spent[client] = (self._owed(client) + seconds, self._clock())
        if len(self._spent) > MOST_CLIENTS:
            self._spent = {name: spent for name, spent in self._spent.items() if self._owed(name)}

    def wait(self, client: str) -> int:
        """Return how many seconds a client has to wait until its next image, 0 if it is within its share."""
        over = self._owed(client) - MINUTE * self._rate
        return math.ceil(over / self._rate) if over > 0 else 0

    @property
    def _rate(self) -> float:
        return self._share * self.workers

    def _owed(self, client: str) -> float:
        seconds, counted = self._spent.get(client, (0.0, 0.0))
        return max(0.0, seconds - (self._clock() - counted) * self._rate)
