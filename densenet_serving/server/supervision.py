"""Watch processes in the foreground until a signal asks for their end, or one of them ends by itself."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

POLL_SECONDS = 0.2


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


def watch(
    alive: Mapping[str, Callable[[], object]], until: threading.Event, seconds: float = float("inf")
) -> str | None:
    """Wait until the event is set or the seconds are over. Returns early with the name of a process that ended."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0 and not until.wait(min(POLL_SECONDS, left)):
        for name, is_alive in alive.items():
            if not is_alive():
                return name
    return None
