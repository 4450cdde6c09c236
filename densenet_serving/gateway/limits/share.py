"""How much of something each client may use over time: seconds of decoding, requests."""

from __future__ import annotations

import time
from collections.abc import Callable

MOST_CLIENTS = 10_000  # if there are more, those that owe nothing are forgotten


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

    def wait(self, client: str) -> float:
        """Return for how many seconds a client may use nothing more, 0 if it is within its share."""
        return max(0.0, self._owed(client) - self._at_once) / self._rate

    def _owed(self, client: str) -> float:
        units, counted = self._used.get(client, (0.0, 0.0))
        return max(0.0, units - (self._clock() - counted) * self._rate)
