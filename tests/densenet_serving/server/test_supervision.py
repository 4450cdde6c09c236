from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from densenet_serving.server.supervision import Signals, watch


@pytest.fixture
def signals() -> Iterator[Signals]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield Signals()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_the_second_signal_is_impatient(signals: Signals, second: signal.Signals) -> None:
    signal.raise_signal(signal.SIGTERM)
    assert (signals.end.is_set(), signals.at_once.is_set()) == (True, False)
    signal.raise_signal(second)
    assert signals.at_once.is_set()


def test_a_process_that_ends_is_named() -> None:
    assert watch({"one": lambda: True, "other": lambda: None}, threading.Event()) == "other"


def test_a_signal_ends_the_watch(signals: Signals) -> None:
    def alive() -> bool:
        signal.raise_signal(signal.SIGTERM)
        return True

    assert watch({"one": alive}, signals.end) is None


def test_the_watch_ends_after_its_seconds() -> None:
    assert watch({"one": lambda: True}, threading.Event(), 0.01) is None
