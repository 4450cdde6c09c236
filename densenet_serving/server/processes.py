"""Start processes for a run folder, tell each from every other that has its pid, find them again, and end them."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, Self

import psutil

Part = Literal["TorchServe", "gateway"]
# In the environment of what a start leaves running: the run folder, whose own records a person may delete.
VARIABLES: dict[Part, str] = {"TorchServe": "DENSENET_TORCHSERVE_OF", "gateway": "DENSENET_GATEWAY_OF"}
STOP_SECONDS = 20
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
PROC = Path("/proc")
# The fields of /proc/PID/stat (proc(5)) counted from the one after the program's name, which is the third.
STATE, START = 0, 19
PR_SET_PDEATHSIG = 1  # prctl(2)

_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class Identity:
    """A process for as long as it runs.

    `start` is the boot's id and the clock ticks from boot to the process's start. A later process with the same pid
    has another start, and a step of the clock changes neither part.
    """

    pid: int
    start: str

    @classmethod
    def of(cls, pid: int) -> Self:
        """Identify a process. Raises psutil.NoSuchProcess."""
        return cls(pid, _state_and_start(pid)[1])

    @classmethod
    def read(cls, state: Mapping[str, Any]) -> Self:
        """Take an identity out of a state file. Raises KeyError or TypeError if it holds none."""
        pid, start = state["pid"], state["start"]
        if type(pid) is not int or not isinstance(start, str) or pid < 1:
            raise TypeError(f"pid {pid!r} with start {start!r} is no process")
        return cls(pid, start)

    def find(self) -> psutil.Process | None:
        """Return the process if it still runs; one that has ended and waits for its parent to notice does not."""
        _reap()
        try:
            state, start = _state_and_start(self.pid)
            return psutil.Process(self.pid) if start == self.start and state not in "ZX" else None
        except psutil.NoSuchProcess:
            return None


def _reap() -> None:
    """Take note of children that have ended."""
    for pid, child in list(_children.items()):
        if child.poll() is not None:
            del _children[pid]


def _state_and_start(pid: int) -> tuple[str, str]:
    if not BOOT_ID.exists():  # not Linux: there the kernel keeps the time of day at which a process was started
        process = psutil.Process(pid)
        return "Z" if process.status() == psutil.STATUS_ZOMBIE else "R", str(process.create_time())
    try:
        fields = (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError) as error:
        raise psutil.NoSuchProcess(pid) from error
    return fields[STATE], f"{BOOT_ID.read_text().strip()}/{fields[START]}"


def spawn(
    part: Part,
    run_dir: Path,
    command: Sequence[str | Path],
    *,
    cwd: Path,
    output: IO[str] | int,
    environment: Mapping[str, str] | None = None,
    dies_with_parent: bool = False,
    pass_fds: Sequence[int] = (),
) -> Identity:
    """Start a part of a server in a session of its own, so that the end of a terminal does not reach it.

    With `dies_with_parent` it gets SIGTERM on Linux when this process ends, even by SIGKILL. Raises OSError.
    """
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env={**(environment or os.environ), VARIABLES[part]: str(run_dir.resolve())},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        umask=0o077,  # tokens and logs are the owner's alone
        pass_fds=pass_fds,
        preexec_fn=_end_with_parent() if dies_with_parent else None,
    )
    _children[process.pid] = process
    return Identity.of(process.pid)


def _end_with_parent() -> Callable[[], object] | None:
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))


def started_for(part: Part, run_dir: Path) -> list[psutil.Process]:
    """List the processes of a part of a run folder's server, with those that it started itself, oldest first."""
    return [process for process in psutil.process_iter() if run_dir_of(process, part) == run_dir.resolve()]


def run_dir_of(process: psutil.Process, part: Part) -> Path | None:
    """Return the run folder for which a process was started; None for another program, or another user's."""
    try:
        named = process.environ().get(VARIABLES[part])
    except (psutil.Error, OSError):
        return None
    return Path(named) if named else None


def end(*processes: psutil.Process) -> None:
    """Ask processes to end, wait for them and their children up to STOP_SECONDS, and kill those that are left."""
    family = _families(processes)
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    for survivor in psutil.wait_procs(family, timeout=STOP_SECONDS)[1]:
        with suppress(psutil.NoSuchProcess):
            survivor.kill()
    _reap()


def kill(process: psutil.Process) -> None:
    """End a process and its children at once. It is suspended first, so that it starts no more of them."""
    with suppress(psutil.NoSuchProcess):
        process.suspend()
    family = _families([process])
    for member in family:
        with suppress(psutil.NoSuchProcess):  # it ended by itself
            member.kill()
    psutil.wait_procs(family, timeout=STOP_SECONDS)
    _reap()


def _families(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Return the processes and all their children, each once."""
    family: dict[psutil.Process, None] = {}
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            family |= dict.fromkeys([process, *process.children(recursive=True)])
    return list(family)
