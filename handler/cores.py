"""The cores of the machine, and how many of them each worker may use."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handler.settings import Settings

MOST_DEFAULT_WORKERS = 4
PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")
# The files with quota and period of the CPU time, in cgroup v2 and in v1. No quota is "max" in v2, and -1 in v1.
QUOTA_FILES = (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"))


def available_cores() -> int:
    """Count the cores this process may use: its affinity, and in a container the cgroup's CPU quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for names in QUOTA_FILES:
        files = [CGROUPS / name for name in names]
        if all(file.exists() for file in files):
            quota, period = " ".join(file.read_text() for file in files).split()
            if quota not in ("max", "-1"):
                cores = min(cores, round(int(quota) / int(period)))
    return max(1, cores)


@dataclass(frozen=True)
class Threads:
    """Inference threads of one worker: for a batch, while the other workers are busy, and for an image alone."""

    batch: int
    alone: int


def default_workers() -> int:
    """One worker a core decodes and infers at the same time; past four, memory grows faster than throughput."""
    return min(available_cores(), MOST_DEFAULT_WORKERS)


def configured_workers(config: Mapping[str, Any], default: int) -> int:
    """Count the workers that TorchServe 0.12 starts for a model-config.yaml; it ignores one bound without the other."""
    least, most = (_whole(config.get(name)) for name in ("minWorkers", "maxWorkers"))
    return least if 0 < least <= most else default


def running_workers(archive: Path) -> int:
    """Count the workers of this one's model, itself included: TorchServe runs each in the folder of its archive.

    Returns 0 for a process that runs elsewhere, and where there is no /proc to read this from.
    """
    parent, folder = os.getppid(), archive.resolve()
    if folder != Path.cwd():
        return 0
    return sum(_parent_of(process) == parent and _folder_of(process) == folder for process in PROC.glob("[0-9]*"))


def _parent_of(process: Path) -> int:
    try:
        return int((process / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    except (OSError, IndexError):  # it has ended
        return 0


def _folder_of(process: Path) -> Path | None:
    try:
        return (process / "cwd").readlink()
    except OSError:
        return None


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def threads_per_worker(settings: Settings, config: Mapping[str, Any], archive: Path) -> Threads:
    """Share the cores among the workers of an unpacked archive; more threads than cores slow every worker down."""
    if settings.threads:
        return Threads(settings.threads, settings.threads)
    cores = available_cores()
    workers = running_workers(archive) or configured_workers(config, default_workers())
    return Threads(max(1, cores // workers), cores)
