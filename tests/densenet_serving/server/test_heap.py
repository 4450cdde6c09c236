from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from densenet_serving import paths, properties
from densenet_serving.server import heap

GIB = 2**30
REQUEST = 2**25


@pytest.mark.parametrize(
    ("memory", "queue", "expected"),
    [
        (2 * GIB, 100, GIB // 4),  # two of the largest requests, four times each
        (4 * GIB, 100, GIB // 4),
        (16 * GIB, 100, GIB),
        (16 * GIB, 5, 5 * GIB // 8),  # a short queue needs no more
        (1024 * GIB, 100, 100 * GIB // 8),
    ],
)
def test_the_heap_follows_the_memory_and_the_queue(memory: int, queue: int, expected: int) -> None:
    assert heap.size_of(memory, queue, REQUEST) == expected


def test_it_stands_behind_the_users_own_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap, "memory", lambda: 16 * GIB)
    settings = {"vmargs": "-Xms64m -Dx=y", "job_queue_size": "100", "max_request_size": str(REQUEST)}

    assert heap.bounded(settings) == "-Xms64m -Dx=y -Xmx1024m"
    assert heap.bounded({}) == "-Xmx1024m"


def test_a_users_own_limit_wins() -> None:
    assert heap.bounded({"vmargs": "-Xmx3g -Xms64m"}) == "-Xmx3g -Xms64m"


def test_started_by_hand_it_has_a_limit_too() -> None:
    vmargs = properties.read(paths.SERVER_CONFIG)["vmargs"].split()

    assert f"-XX:MaxRAMPercentage={100 / heap.SHARE}" in vmargs
    assert not [argument for argument in vmargs if argument.startswith("-Xmx")]  # it would win over what is computed


@pytest.mark.parametrize(("text", "expected"), [("1073741824\n", GIB), ("max\n", None), ("9223372036854771712", None)])
def test_the_containers_memory_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: int | None
) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(heap, "CGROUP_LIMITS", (tmp_path / "missing", limit))
    total = psutil.virtual_memory().total
    assert heap.memory() == total

    limit.write_text(text)
    assert heap.memory() == (expected or total)
