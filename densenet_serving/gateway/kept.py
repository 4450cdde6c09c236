"""One question to TorchServe that many clients share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """What `ask` returned, kept for `seconds` if it is `good`. Whoever comes while it is being asked waits for it."""

    def __init__(
        self,
        ask: Callable[[], Awaitable[T]],
        seconds: float,
        good: Callable[[T], bool] = lambda _: True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._seconds = seconds
        self._good = good
        self._clock = clock
        self._asking: asyncio.Task[T] | None = None
        self._until: float | None = None

    async def get(self) -> T:
        return await asyncio.shield(self.begin())  # a client that goes away does not take the others' answer with it

    def begin(self) -> asyncio.Task[T]:
        """Ask, unless the last answer is still kept. Returns its task."""
        asking = self._asking
        if asking is None or (asking.done() and (self._until is None or self._clock() >= self._until)):
            self._asking = asking = asyncio.create_task(self._ask_and_keep())
        return asking

    def cancel(self) -> None:
        if self._asking:
            self._asking.cancel()

    async def _ask_and_keep(self) -> T:
        self._until = None
        answer = await self._ask()
        self._until = self._clock() + self._seconds if self._good(answer) else None
        return answer
