from __future__ import annotations

import asyncio

import pytest

from densenet_serving.gateway.limits.turns import Turns

pytestmark = pytest.mark.anyio


async def test_each_pass_does_one_piece_and_clients_take_turns() -> None:
    turns, done = Turns(), list[str]()
    for piece in ("a1", "a2", "a3", "b1", "b2", "c1"):
        turns.add(piece[0], lambda piece=piece: done.append(piece))
    assert done == ["a1"]  # who comes first does not wait

    seen = []
    while len(done) < 6:
        await asyncio.sleep(0)
        seen.append(len(done))
    assert done == ["a1", "a2", "b1", "c1", "a3", "b2"]
    assert seen == sorted(set(seen))  # never two in one pass


async def test_after_a_pass_without_work_the_next_piece_is_done_at_once() -> None:
    turns, done = Turns(), list[str]()
    turns.add("a", lambda: done.append("first"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    turns.add("a", lambda: done.append("second"))
    assert done == ["first", "second"]


async def test_work_that_fails_ends_nobody_elses_turn() -> None:
    turns, done = Turns(), list[str]()
    with pytest.raises(ZeroDivisionError):
        turns.add("a", lambda: [][1 // 0])
    turns.add("b", lambda: done.append("b"))
    await asyncio.sleep(0)
    assert done == ["b"]
