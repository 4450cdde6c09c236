"""How many requests one API key may make in a given time."""

from __future__ import annotations

import math
import time

import limits
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from densenet_serving.errors import ServingError
from densenet_serving.gateway.errors import TooManyRequests


def parse_rate(rate: str) -> limits.RateLimitItem:
    """Read a rate such as 600/minute. Raises ServingError."""
    try:
        return limits.parse(rate)
    except ValueError as error:
        raise ServingError(f"--rate {rate} is no rate: write it as 10/second or 600/minute.") from error


class RateLimit:
    """Limits the requests of each key in a sliding window. The counts are kept in this process."""

    def __init__(self, rate: str) -> None:
        self._rate = parse_rate(rate)
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    async def count(self, name: str) -> None:
        """Count one request of a key. Raises TooManyRequests, which says how many seconds to wait."""
        if await self._limiter.hit(self._rate, name):
            return
        window = await self._limiter.get_window_stats(self._rate, name)
        seconds = max(1, math.ceil(window.reset_time - time.time()))
        raise TooManyRequests(f"The key {name} may make {self._rate}: wait {seconds} s.", {"Retry-After": str(seconds)})
