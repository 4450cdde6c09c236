"""Waiting for what another process does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

POLL_SECONDS = 0.05
Seen = TypeVar("Seen")


def until(look: Callable[[], Seen], seconds: float = 30, said: Callable[[], object] = str) -> Seen:
    """Return what `look` returns as soon as it is true. Fails after `seconds`, with what `said` tells of it."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, f"it did not happen within {seconds} s; the last look saw {seen}\n{said()}"
        time.sleep(POLL_SECONDS)
    return seen
