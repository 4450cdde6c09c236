"""How much one client may ask for, and how much all of them together."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import limits
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from scripts.errors import CommandError
from web import clients
from web.errors import ServiceUnavailable, TooManyRequests

BUSY = "The gateway is busy: try again in a second."


def parse_rate(rate: str) -> limits.RateLimitItem:
    """Read a rate such as 600/minute. Raises CommandError."""
    try:
        return limits.parse(rate)
    except ValueError as error:
        raise CommandError(f"--rate {rate} is no rate: write it as 10/second or 600/minute.") from error


class RateLimit:
    """Requests per key in a sliding window; the counts are this process's own."""

    def __init__(self, rate: str) -> None:
        self._rate = parse_rate(rate)
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    async def count(self, name: str) -> None:
        """Count one request. Raises TooManyRequests with the seconds to wait."""
        if await self._limiter.hit(self._rate, name):
            return
        window = await self._limiter.get_window_stats(self._rate, name)
        seconds = max(1, math.ceil(window.reset_time - time.time()))
        raise TooManyRequests(f"The key {name} may make {self._rate}: wait {seconds} s.", {"Retry-After": str(seconds)})


class Budget:
    """So much of something at a time, for all clients together and for each; who asks for more is refused.

    `most_of_one` keeps one client from taking all of it; without it one may.
    """

    def __init__(self, most: int, most_of_one: int | None = None) -> None:
        self._most = most
        self._most_of_one = most if most_of_one is None else most_of_one
        self._used: Counter[str] = Counter()

    @contextmanager
    def account(self) -> Iterator[Callable[[int], None]]:
        """Open an account of the current client: what is taken from it comes back when it is closed."""
        client = clients.current.get()
        taken = 0

        def take(amount: int) -> None:
            nonlocal taken
            if self._used.total() + amount > self._most or self._used[client] + amount > self._most_of_one:
                raise ServiceUnavailable(BUSY, {"Retry-After": "1"})
            self._used[client] += amount
            taken += amount

        try:
            yield take
        finally:
            self._used[client] -= taken
            if not self._used[client]:
                del self._used[client]


class Admission:
    """So many requests at a time. One more is refused before its body is read."""

    def __init__(self, most: int, most_of_one: int | None = None) -> None:
        self._requests = Budget(most, most_of_one)

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._requests.account() as take:
            take(1)
            yield
