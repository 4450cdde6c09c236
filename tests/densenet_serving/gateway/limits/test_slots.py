from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from densenet_serving.gateway.slots import RECENT_SECONDS, Slots

pytestmark = pytest.mark.anyio


class Photos:
    """Photos that clients ask for and that stay with TorchServe until `finish` is called."""

    def __init__(self, most: int, share: int) -> None:
        self.now = 0.0
        self.slots = Slots(most, share, lambda: self.now)
        self.there: list[str] = []
        self._ends: list[tuple[str, asyncio.Event]] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def ask(self, client: str, count: int = 1) -> None:
        self.tasks += [asyncio.create_task(self._one(client)) for _ in range(count)]
        await self.settle()

    async def finish(self, client: str) -> None:
        end = next(pair for pair in self._ends if pair[0] == client)
        self._ends.remove(end)
        end[1].set()
        await self.settle()

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    async def _one(self, client: str) -> None:
        async with self.slots(client):
            end = asyncio.Event()
            self.there.append(client)
            self._ends.append((client, end))
            await end.wait()
            self.there.remove(client)


async def test_who_is_alone_has_all_places() -> None:
    photos = Photos(6, 2)
    await photos.ask("a", 10)

    assert photos.there == ["a"] * 6
    assert photos.slots.taken == 6


async def test_as_soon_as_another_asks_nobody_gets_more_than_a_share() -> None:
    photos = Photos(6, 2)
    await photos.ask("a", 20)
    await photos.ask("b")
    assert photos.there == ["a"] * 6

    await photos.finish("a")
    assert Counter(photos.there) == {"a": 5, "b": 1}  # the free place is not a's
    for _ in range(4):
        await photos.finish("a")
    assert Counter(photos.there) == {"a": 2, "b": 1}
    await photos.finish("b")
    await photos.ask("b")
    assert Counter(photos.there) == {"a": 2, "b": 1}  # nor while b takes a breath


async def test_after_a_while_alone_all_places_are_its_own_again() -> None:
    photos = Photos(6, 2)
    await photos.ask("b")
    await photos.ask("a", 20)
    assert Counter(photos.there) == {"a": 2, "b": 1}
    await photos.finish("b")
    assert photos.there == ["a"] * 2

    photos.now += RECENT_SECONDS + 1
    await photos.finish("a")
    assert photos.there == ["a"] * 6


async def test_places_are_never_more_than_there_are() -> None:
    photos = Photos(6, 2)
    for client in "abcdefgh":
        await photos.ask(client, 3)

    assert len(photos.there) == 6
    for _ in range(18):
        await photos.finish(photos.there[0])
        assert len(photos.there) <= 6
        assert max(Counter(photos.there).values()) <= 2
    assert len(photos.tasks) == 24


async def test_who_gives_up_leaves_no_gap() -> None:
    photos = Photos(1, 1)
    await photos.ask("a")
    await photos.ask("b", 2)
    photos.tasks[1].cancel()
    await photos.settle()
    await photos.finish("a")
    assert photos.there == ["b"]

    photos.tasks[2].cancel()  # it has its place
    await photos.settle()
    assert photos.slots.taken == 0
    await photos.ask("c")
    assert "c" in photos.there


async def test_who_gives_up_at_the_moment_it_is_its_turn_gives_the_place_on() -> None:
    photos = Photos(1, 1)
    await photos.ask("a")
    await photos.ask("b")
    end = photos._ends.pop()[1]
    end.set()
    await asyncio.sleep(0)  # a has left, b's place is handed out, b has not run yet
    photos.tasks[1].cancel()
    await photos.settle()

    assert photos.slots.taken == 0
