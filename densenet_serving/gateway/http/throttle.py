"""Limits a rate that all connections share."""

from __future__ import annotations

import time
from collections.abc import Callable


class Throttle:
    """Spreads work over time, at `rate` units a second in all."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._free_at = clock()

    def delay(self, size: int) -> float:
        """Return how many seconds to wait after doing `size` units of work."""
        now = self._clock()
        self._free_at = max(self._free_at, now) + size / self._rate
        return self._free_at - now
