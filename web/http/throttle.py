"""A rate that all connections share."""

from __future__ import annotations

import time
from collections.abc import Callable


class Throttle:
    """Spreads work over time: `rate` units a second, whoever asks."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._free_at = clock()

    def delay(self, size: int) -> float:
        """Return the seconds after which the one that asks may go on, having just done `size` units of work."""
        now = self._clock()
        self._free_at = max(self._free_at, now) + size / self._rate
        return self._free_at - now
