from __future__ import annotations

import pytest

from densenet_serving.gateway.limits import share
from densenet_serving.gateway.limits.share import Share


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
    monkeypatch.setattr(share, "MOST_CLIENTS", 10)
    now = 100.0
    requests = Share(1, 1, lambda: now)
    for i in range(10):
        requests.spend(f"old {i}", 1)
    now += 2
    requests.spend("new", 1)
    assert list(requests._used) == ["new"]
