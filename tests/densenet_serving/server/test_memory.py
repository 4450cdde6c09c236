from __future__ import annotations

import pytest

from densenet_serving.errors import CommandError
from densenet_serving.server import heap
from densenet_serving.server.memory import check_memory


@pytest.mark.parametrize(("workers", "megabytes"), [(0, 1), (1, 620), (2, 1020), (4, 1820)])
def test_workers_that_fit(monkeypatch: pytest.MonkeyPatch, workers: int, megabytes: int) -> None:
    monkeypatch.setattr(heap, "memory", lambda: megabytes * 1_000_000)
    check_memory(workers)


@pytest.mark.parametrize(
    ("workers", "said"),
    [(1, "with 1 worker takes 620 MB"), (2, "with 2 workers takes 1020 MB of memory, and there are 512")],
)
def test_workers_that_do_not_fit(monkeypatch: pytest.MonkeyPatch, workers: int, said: str) -> None:
    monkeypatch.setattr(heap, "memory", lambda: 512_000_000)
    with pytest.raises(CommandError, match=said):
        check_memory(workers)
