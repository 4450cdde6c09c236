"""Shares the places for requests that are with TorchServe among the clients that want some."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

# A client that sends one photo after another has none here between two of them.
RECENT_SECONDS = 5


class Slots:
    """`most` places. A single client may have all of them; once another one asks, no client gets more than `share`.

    TorchServe answers in order, so every client waits for all that is there already. The next place goes to the
    waiting client that has the fewest, so that nobody waits for all the photos of another.
    """

    def __init__(self, most: int, share: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self.share = share
        self._clock = clock
        self._taken: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._seen: OrderedDict[str, float] = OrderedDict()  # when each client last wanted one, oldest first

    @property
    def taken(self) -> int:
        return self._taken.total()

    @asynccontextmanager
    async def __call__(self, client: str) -> AsyncIterator[None]:
        """Wait for a place and keep it."""
        await self._acquire(client)
        try:
            yield
        finally:
            self._release(client)

    async def _acquire(self, client: str) -> None:
        place = asyncio.get_running_loop().create_future()
        self._note(client)
        self._waiting.setdefault(client, deque()).append(place)
        self._hand_out()
        try:
            await place
        except asyncio.CancelledError:
            if place.cancelled():
                self._forget(client, place)
            else:  # it got the place just before
                self._release(client)
            raise

    def _release(self, client: str) -> None:
        self._taken[client] -= 1
        if not self._taken[client]:
            del self._taken[client]
        self._note(client)
        self._hand_out()

    def _hand_out(self) -> None:
        while self.taken < self._most and (client := self._next()) is not None:
            place = self._waiting[client].popleft()
            if not self._waiting[client]:
                del self._waiting[client]
            else:
                self._waiting.move_to_end(client)
            if not place.done():
                self._taken[client] += 1
                place.set_result(None)

    def _next(self) -> str | None:
        """Return the client whose turn it is: of those with the fewest places, the one that has waited longest."""
        entitled = [client for client in self._waiting if self._taken[client] < self.share or self._alone(client)]
        return min(entitled, key=lambda client: self._taken[client], default=None)

    def _alone(self, client: str) -> bool:
        while self._seen and next(iter(self._seen.values())) < self._clock() - RECENT_SECONDS:
            self._seen.popitem(last=False)
        others = self._seen.keys() | self._taken.keys() | self._waiting.keys()
        return others <= {client}

    def _note(self, client: str) -> None:
        self._seen[client] = self._clock()
        self._seen.move_to_end(client)

    def _forget(self, client: str, place: asyncio.Future[None]) -> None:
        places = self._waiting.get(client, deque())
        if place in places:
            places.remove(place)
        if not places:
            self._waiting.pop(client, None)
