from __future__ import annotations

import asyncio
from functools import partial

import pytest

from densenet_serving.errors import ServingError
from densenet_serving.gateway import clients
from densenet_serving.gateway.clients import Share, Turns, read_rate


def test_a_client_over_its_share_waits_and_others_do_not() -> None:
    now = 100.0
    decoding = Share(0.25, 15, lambda: now)
    decoding.spend("a", 15)
    assert decoding.wait("a") == 0

    decoding.spend("a", 1.5)
    assert decoding.wait("a") == 6
    assert decoding.wait("b") == 0
    now += 6
    assert decoding.wait("a") == 0


@pytest.mark.parametrize(("seconds", "images"), [(1.5, 11), (0.03, 501)])
def test_an_expensive_image_is_no_cheaper_attack_than_many_small_ones(seconds: float, images: int) -> None:
    decoding = Share(0.25, 15, lambda: 100.0)
    sent = 0
    while not decoding.wait("a") and sent < 10_000:
        decoding.spend("a", seconds)
        sent += 1
    assert sent == pytest.approx(images, abs=1)


def test_clients_that_owe_nothing_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "MOST_CLIENTS", 10)
    now = 100.0
    requests = Share(1, 1, lambda: now)
    for i in range(10):
        requests.spend(f"old {i}", 1)
    now += 2
    requests.spend("new", 1)
    assert list(requests._used) == ["new"]


@pytest.mark.anyio
async def test_each_pass_does_one_piece_and_clients_take_turns() -> None:
    turns, done = Turns(), list[str]()
    for piece in ("a1", "a2", "a3", "b1", "b2", "c1"):
        turns.add(piece[0], partial(done.append, piece))
    assert done == ["a1"]  # who comes first does not wait

    seen = []
    while len(done) < 6:
        await asyncio.sleep(0)
        seen.append(len(done))
    assert done == ["a1", "a2", "b1", "c1", "a3", "b2"]
    assert seen == sorted(set(seen))  # never two in one pass


@pytest.mark.anyio
async def test_after_a_pass_without_work_the_next_piece_is_done_at_once() -> None:
    turns, done = Turns(), list[str]()
    turns.add("a", lambda: done.append("first"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    turns.add("a", lambda: done.append("second"))
    assert done == ["first", "second"]


@pytest.mark.anyio
async def test_work_that_fails_ends_nobody_elses_turn() -> None:
    turns, done = Turns(), list[str]()
    with pytest.raises(ZeroDivisionError):
        turns.add("a", lambda: [][1 // 0])
    turns.add("b", lambda: done.append("b"))
    await asyncio.sleep(0)
    assert done == ["b"]


def test_a_rate_is_a_number_in_so_many_seconds() -> None:
    assert [read_rate(text) for text in ("600/minute", "10 / second", "3 per hour")] == [(600, 60), (10, 1), (3, 3600)]
    for text in ("", "often", "10", "0/minute", "10/fortnight"):
        with pytest.raises(ServingError, match="600/minute"):
            read_rate(text)
