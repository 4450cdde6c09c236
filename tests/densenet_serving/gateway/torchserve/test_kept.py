from __future__ import annotations

import asyncio

import pytest

from densenet_serving.gateway.kept import Kept

pytestmark = pytest.mark.anyio


class Source:
    """Counts how often it is asked, and answers when it may."""

    def __init__(self) -> None:
        self.asked = 0
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self) -> int:
        self.asked += 1
        asked = self.asked
        await self.go.wait()
        return asked


async def test_all_who_come_meanwhile_share_one_answer_though_one_of_them_goes() -> None:
    source = Source()
    source.go.clear()
    kept = Kept(source, 1)
    waiting = [asyncio.create_task(kept.get()) for _ in range(100)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    source.go.set()

    assert await asyncio.gather(*waiting[1:]) == [1] * 99
    assert source.asked == 1


async def test_it_is_kept_for_a_while() -> None:
    now = 0.0
    kept = Kept(Source(), 1, clock=lambda: now)
    assert [await kept.get(), await kept.get()] == [1, 1]
    now = 1.0
    assert await kept.get() == 2


async def test_what_is_not_good_is_not_kept() -> None:
    kept = Kept(Source(), 1, good=lambda answer: answer > 1)
    assert [await kept.get(), await kept.get(), await kept.get()] == [1, 2, 2]


async def test_after_a_failure_it_is_asked_again() -> None:
    source = Source()

    async def fail_once() -> int:
        if await source() == 1:
            raise ZeroDivisionError
        return source.asked

    kept = Kept(fail_once, 1)
    with pytest.raises(ZeroDivisionError):
        await kept.get()
    assert await kept.get() == 2
