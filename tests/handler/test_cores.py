from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from handler import cores as cores_module
from handler.cores import (
    Threads,
    available_cores,
    configured_workers,
    default_workers,
    running_workers,
    threads_per_worker,
)
from handler.settings import Settings


def older(quota: str) -> dict[str, str]:
    return {"cpu/cpu.cfs_period_us": "100000\n"} | ({"cpu/cpu.cfs_quota_us": quota} if quota else {})


@pytest.mark.parametrize(
    ("cgroups", "cores"),
    [
        ({}, 8),
        *(({"cpu.max": f"{quota} 100000"}, n) for quota, n in (("max", 8), (200000, 2), (1000, 1), (9900000, 8))),
        ({"cpu.max": "150000 100000\n"}, 2),
        *((older(quota), n) for quota, n in (("-1\n", 8), ("200000\n", 2), ("150000", 2), ("1000\n", 1), ("", 8))),
    ],
)
def test_a_container_has_as_many_cores_as_its_quota(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cgroups: dict[str, str], cores: int
) -> None:
    (tmp_path / "cpu").mkdir()
    for name, content in cgroups.items():
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(cores_module, "CGROUPS", tmp_path)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert available_cores() == cores


def test_without_affinity_the_processors_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cores_module, "CGROUPS", tmp_path)
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert available_cores() == 1


@pytest.mark.parametrize(
    ("threads", "config", "running", "expected"),
    [
        (0, {}, 0, Threads(batch=2, alone=8)),  # four workers
        (0, {}, 1, Threads(batch=8, alone=8)),
        (0, {}, 3, Threads(batch=2, alone=8)),
        (0, {}, 20, Threads(batch=1, alone=8)),
        (0, {"minWorkers": 2, "maxWorkers": 2}, 0, Threads(batch=4, alone=8)),
        (0, {"minWorkers": 2, "maxWorkers": 2}, 8, Threads(batch=1, alone=8)),  # densenet models scale
        (5, {"minWorkers": 2, "maxWorkers": 2}, 8, Threads(batch=5, alone=5)),
    ],
)
def test_workers_share_the_cores(
    monkeypatch: pytest.MonkeyPatch, threads: int, config: dict[str, Any], running: int, expected: Threads
) -> None:
    monkeypatch.setattr(cores_module, "available_cores", lambda: 8)
    monkeypatch.setattr(cores_module, "running_workers", lambda _: running)
    assert threads_per_worker(Settings(threads=threads), config, Path()) == expected


@pytest.mark.parametrize(
    ("config", "workers"),
    [
        ({}, 7),
        ({"minWorkers": 2}, 7),  # TorchServe wants both
        ({"maxWorkers": 2}, 7),
        ({"minWorkers": 3, "maxWorkers": 2}, 7),
        ({"minWorkers": "2", "maxWorkers": "2"}, 7),
        ({"minWorkers": 2, "maxWorkers": 4}, 2),
    ],
)
def test_the_workers_that_torchserve_starts(config: dict[str, Any], workers: int) -> None:
    assert configured_workers(config, default=7) == workers


def test_running_workers_have_one_parent_and_are_in_the_archives_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    archive, elsewhere = tmp_path / "archive", tmp_path / "elsewhere"
    for folder in (archive, elsewhere):
        folder.mkdir()
    stats = {"1": (7, archive), "2": (7, archive), "3": (8, archive), "4": (7, elsewhere), "5": (None, archive)}
    for pid, (parent, folder) in stats.items():
        process = tmp_path / "proc" / pid
        process.mkdir(parents=True)
        (process / "stat").write_text(f"{pid} (a ) b) S {parent} 0" if parent else "")
        (process / "cwd").symlink_to(folder)
    monkeypatch.setattr(cores_module, "PROC", tmp_path / "proc")
    monkeypatch.setattr("os.getppid", lambda: 7)
    assert running_workers(archive) == 0  # this process is elsewhere
    monkeypatch.chdir(archive)
    assert running_workers(archive) == 2


@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (2, 2), (4, 4), (64, 4)])
def test_a_worker_a_core_up_to_four(monkeypatch: pytest.MonkeyPatch, cores: int, workers: int) -> None:
    monkeypatch.setattr(cores_module, "available_cores", lambda: cores)
    assert default_workers() == workers
