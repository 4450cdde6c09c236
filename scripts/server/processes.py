"""Find a process that an earlier command started, by pid and start time, and end it with its children."""

from __future__ import annotations

from contextlib import suppress

import psutil

STOP_SECONDS = 20


def find(pid: int, created: float) -> psutil.Process | None:
    """Return the process with this pid if it was started at `created`; a later one may have the same pid."""
    try:
        process = psutil.Process(pid)
        same = process.create_time() == created and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return None
    return process if same else None


def end(process: psutil.Process) -> None:
    """Ask a process to end, wait for it and its children up to STOP_SECONDS, and kill those that are left."""
    family = [process, *process.children(recursive=True)]
    process.terminate()
    for survivor in psutil.wait_procs(family, timeout=STOP_SECONDS)[1]:
        survivor.kill()


def kill(process: psutil.Process) -> None:
    """End a process and its children at once. It is suspended first, so that it starts no more of them."""
    process.suspend()
    family = [process, *process.children(recursive=True)]
    for member in family:
        with suppress(psutil.NoSuchProcess):  # it ended by itself
            member.kill()
    psutil.wait_procs(family, timeout=STOP_SECONDS)
