"""Processes that an earlier command started: found again by pid and start time, ended with their children."""

from __future__ import annotations

import psutil

STOP_SECONDS = 20


def find(pid: int, created: float) -> psutil.Process | None:
    """Return the process if it is still the one that was started at `created`, and not another of equal pid."""
    try:
        process = psutil.Process(pid)
        same = process.create_time() == created and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return None
    return process if same else None


def end(process: psutil.Process) -> None:
    """Ask it to end, wait for it and its children, and kill what is left."""
    family = [process, *process.children(recursive=True)]
    process.terminate()
    for survivor in psutil.wait_procs(family, timeout=STOP_SECONDS)[1]:
        survivor.kill()
