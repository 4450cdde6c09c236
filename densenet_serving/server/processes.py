"""Start the parts of a server, find them by the run folder that each carries, watch them, and end them.

Nothing is written down about a process: its environment names its part and its run folder. So no other process is ever
taken for it, whatever its pid, and it is found though somebody deleted the run folder.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Literal

import psutil

Part = Literal["TorchServe", "gateway"]
VARIABLES: dict[Part, str] = {"TorchServe": "DENSENET_TORCHSERVE_OF", "gateway": "DENSENET_GATEWAY_OF"}
STOP_SECONDS = 20
POLL_SECONDS = 0.2
END_POLL_SECONDS = 0.02
PR_SET_PDEATHSIG = 1  # prctl(2)


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
) -> psutil.Process:
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
    process.returncode = 0  # or Python complains when it forgets one that runs
    return psutil.Process(process.pid)


def _end_with_parent() -> Callable[[], object] | None:
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))


def find(part: Part, run_dir: Path) -> psutil.Process | None:
    """Find a part of a run folder's server: the process that began a session, and not one that it started itself."""
    for process in started_for(part, run_dir):
        with suppress(ProcessLookupError):  # it has just ended
            if os.getsid(process.pid) == process.pid:
                return process
    return None


def started_for(part: Part, run_dir: Path) -> list[psutil.Process]:
    """List the processes of a part of a run folder's server, with those that it started itself."""
    return [process for process in psutil.process_iter() if run_dir_of(process, part) == run_dir.resolve()]


def run_dir_of(process: psutil.Process, part: Part) -> Path | None:
    """Return the run folder for which a process was started; None for another program, or another user's."""
    try:
        named = process.environ().get(VARIABLES[part])
    except (psutil.Error, OSError):
        return None
    return Path(named) if named else None


def runs(process: psutil.Process) -> bool:
    """Tell whether a process has not ended; one that waits for its parent to notice has."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def end(*processes: psutil.Process) -> None:
    """Ask processes to end, wait for them and their children up to STOP_SECONDS, and kill those that are left."""
    family = _families(processes)
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _kill(_wait(family))


def kill(process: psutil.Process) -> None:
    """End a process and its children at once. It is suspended first, so that it starts no more of them."""
    with suppress(psutil.NoSuchProcess):
        process.suspend()
    _kill(_families([process]))


def _kill(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    _wait(processes)


def _wait(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Wait up to STOP_SECONDS until none of these runs, and return those that do."""
    deadline = time.monotonic() + STOP_SECONDS
    while (left := [process for process in processes if runs(process)]) and time.monotonic() < deadline:
        time.sleep(END_POLL_SECONDS)
    return left


def _families(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Return the processes with all their children."""
    family: list[psutil.Process] = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            family += [process, *process.children(recursive=True)]
    return family


def watch(processes: Mapping[str, psutil.Process], until: threading.Event, seconds: float = float("inf")) -> str | None:
    """Wait until the event is set or the seconds are over. Returns early with the name of a process that ended."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0 and not until.wait(min(POLL_SECONDS, left)):
        for name, process in processes.items():
            if not runs(process):
                return name
    return None


def ending() -> list[signal.Signals]:
    """Return the signals that ask this process to end. The end of its terminal is one, unless nohup has it ignored."""
    hangup = [] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP]
    return [signal.SIGTERM, signal.SIGINT, *hangup]


def exit_on_signals() -> None:
    """Let each of these signals raise SystemExit, as Ctrl-C raises KeyboardInterrupt: nothing is left behind."""
    for number in ending():
        if number != signal.SIGINT:
            signal.signal(number, lambda number, _: sys.exit(128 + number))


class Signals:
    """The signals that ask for an end, from now on: the first sets `end`, a second, which cannot wait, `at_once`."""

    def __init__(self) -> None:
        self.end = threading.Event()
        self.at_once = threading.Event()
        for number in ending():
            signal.signal(number, self._note)

    def _note(self, *_: object) -> None:
        (self.at_once if self.end.is_set() else self.end).set()


@contextmanager
def postponed_signals() -> Iterator[None]:
    """Let these signals wait for the end of the block: one that starts a process also returns what can stop it."""
    arrived: list[int] = []
    before = {number: signal.signal(number, lambda number, _: arrived.append(number)) for number in ending()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for late in arrived:
            signal.raise_signal(late)
