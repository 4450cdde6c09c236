from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from densenet_serving import paths, properties
from densenet_serving.errors import CommandError
from densenet_serving.server import capacity

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
    assert capacity.heap_bytes(memory, queue, REQUEST) == expected


@pytest.mark.parametrize(
    ("settings", "vmargs"),
    [
        (
            {"vmargs": "-Xms64m -Dx=y", "job_queue_size": "100", "max_request_size": str(REQUEST)},
            "-Xms64m -Dx=y -Xmx1024m",
        ),
        ({}, "-Xmx1024m"),
        ({"vmargs": "-Xmx3g -Xms64m"}, "-Xmx3g -Xms64m"),  # a person's own limit wins
    ],
)
def test_the_limit_follows_the_other_arguments(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], vmargs: str
) -> None:
    monkeypatch.setattr(capacity, "memory", lambda: 16 * GIB)
    assert capacity.with_heap_limit(settings) == vmargs


def test_started_by_hand_it_has_a_limit_too() -> None:
    vmargs = properties.read(paths.SERVER_CONFIG)["vmargs"].split()
    assert f"-XX:MaxRAMPercentage={100 / capacity.SHARE}" in vmargs
    assert not [argument for argument in vmargs if argument.startswith("-Xmx")]  # it would win over what is computed


@pytest.mark.parametrize(("text", "expected"), [("1073741824\n", GIB), ("max\n", None), ("9223372036854771712", None)])
def test_the_memory_of_the_container_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: int | None
) -> None:
    (limit := tmp_path / "memory.max").write_text(text)
    monkeypatch.setattr(capacity, "CGROUP_LIMITS", (tmp_path / "missing", limit))
    assert capacity.memory() == (expected or psutil.virtual_memory().total)


@pytest.mark.parametrize(
    ("workers", "megabytes", "needed"), [(0, 1, 0), (1, 620, 0), (4, 1820, 0), (1, 512, 620), (2, 512, 1020)]
)
def test_more_workers_than_the_memory_holds_are_refused(
    monkeypatch: pytest.MonkeyPatch, workers: int, megabytes: int, needed: int
) -> None:
    monkeypatch.setattr(capacity, "memory", lambda: megabytes * 1_000_000)
    if not needed:
        capacity.check_memory(workers)
        return
    with pytest.raises(CommandError, match=f"{workers} worker.* {needed} MB .* {megabytes} MB"):
        capacity.check_memory(workers)
