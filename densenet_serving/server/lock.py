"""One command at a time starts or stops what runs in a run folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from densenet_serving.console import note

LOCK_FILE = "lock"


@contextmanager
def sole_command(run_dir: Path) -> Iterator[None]:
    """Keep every other command that starts or stops from this run folder until the block ends, or wait for it.

    The kernel gives the lock up with its process, however that ends. A folder that is empty afterwards is removed.
    """
    lock = FileLock(run_dir / LOCK_FILE, mode=0o600)
    while not lock.is_locked:
        run_dir.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # another command has just removed the empty folder
            acquire(lock, run_dir)
    try:
        yield
    finally:
        (run_dir / LOCK_FILE).unlink(missing_ok=True)  # who waits for it sees that it is gone, and makes another
        lock.release()
        with suppress(OSError):
            run_dir.rmdir()


def acquire(lock: FileLock, run_dir: Path) -> None:
    try:
        lock.acquire(blocking=False)
    except Timeout:
        note(f"Another densenet command starts or stops a server in {run_dir}: waiting until it is done.")
        lock.acquire()
