"""What a contender costs: CPU time and memory of its process and all that it started."""

from __future__ import annotations

import time

import psutil

# A tree that used less than this share of one core in this time is idle.
IDLE_SHARE, IDLE_SECONDS = 0.25, 0.25


class Tree:
    """A process and its descendants."""

    def __init__(self, pid: int) -> None:
        self.root = psutil.Process(pid)
        self._seen: dict[tuple[int, float], float] = {}

    def processes(self) -> list[psutil.Process]:
        try:
            return [self.root, *self.root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def cpu_seconds(self) -> float:
        """User and system time of all processes since each began; what an ended one had used stays counted."""
        for process in self.processes():
            try:
                times = process.cpu_times()
                self._seen[process.pid, process.create_time()] = times.user + times.system
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return sum(self._seen.values())

    def memory(self) -> int:
        """Proportional set size in bytes: pages that processes share are counted once in all (Linux; else USS)."""
        total = 0
        for process in self.processes():
            try:
                info = process.memory_full_info()
                total += getattr(info, "pss", info.uss)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return total

    def settle(self, patience: float = 10) -> None:
        """Wait until requests that nobody waits for any more are worked off, at most `patience` seconds."""
        deadline = time.monotonic() + patience
        used = self.cpu_seconds()
        while time.monotonic() < deadline:
            time.sleep(IDLE_SECONDS)
            before, used = used, self.cpu_seconds()
            if used - before < IDLE_SHARE * IDLE_SECONDS:
                return

    def stop(self, patience: float = 10) -> None:
        """Ask the root to end, then end whatever of the tree is left after `patience` seconds."""
        family = self.processes()
        if not family:
            return
        self.root.terminate()
        _, alive = psutil.wait_procs(family, timeout=patience)
        for process in alive:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(alive, timeout=patience)
