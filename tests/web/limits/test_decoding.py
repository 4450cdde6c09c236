from __future__ import annotations

import pytest

from web.limits import decoding
from web.limits.decoding import DecodeShare


def test_a_client_over_its_share_waits_and_others_do_not() -> None:
    now = 100.0
    share = DecodeShare(0.25, lambda: now)  # 15 s a minute
    share.spend("a", 15)
    assert share.wait("a") == 0

    share.spend("a", 1.5)
    assert share.wait("a") == 6
    assert share.wait("b") == 0
    now += 6
    assert share.wait("a") == 0


@pytest.mark.parametrize(("seconds", "images"), [(1.5, 11), (0.03, 501)])
def test_an_expensive_image_is_no_cheaper_attack_than_many_small_ones(seconds: float, images: int) -> None:
    share = DecodeShare(0.25, lambda: 100.0)
    sent = 0
    while not share.wait("a") and sent < 10_000:
        share.spend("a", seconds)
        sent += 1
    assert sent == pytest.approx(images, abs=1)


def test_more_workers_give_every_client_more() -> None:
    share = DecodeShare(0.25, lambda: 100.0)
    share.workers = 4
    share.spend("a", 60)
    assert share.wait("a") == 0
    share.spend("a", 1)
    assert share.wait("a") == 1


def test_clients_that_owe_nothing_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MOST_CLIENTS", 10)
    now = 100.0
    share = DecodeShare(1, lambda: now)
    for i in range(10):
        share.spend(f"old {i}", 1)
    now += 2
    share.spend("new", 1)
    assert list(share._spent) == ["new"]
