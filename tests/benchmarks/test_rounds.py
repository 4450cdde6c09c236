from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from benchmarks import rounds, service
from benchmarks.lineup import Contender
from benchmarks.material import Material
from benchmarks.results import Outcome
from benchmarks.service import Place, Running


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, 0, Material(tmp_path, {}, tmp_path, tmp_path, tmp_path, tmp_path, tmp_path), tmp_path, 2)


def test_a_contender_whose_start_is_interrupted_is_not_left_behind(place: Place) -> None:
    started: list[Running] = []

    def start(place: Place) -> Running:
        started.append(service.launch(place, ["sleep", "60"], "/", {}))
        signal.raise_signal(signal.SIGTERM)
        return started[0]

    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with pytest.raises(SystemExit):
            rounds.run_contender(Contender("c", "C", None, start), place, [], 1, 1, Outcome("c", "C"), print)
    finally:
        signal.signal(signal.SIGTERM, before)
        alive = started[0].tree.root.is_running()
        started[0].stop()
    assert not alive
