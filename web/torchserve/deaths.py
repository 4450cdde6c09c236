"""Which photos are sent again after a worker died with them."""

from __future__ import annotations

import time
from collections.abc import Callable

# The photos of one batch fail within this time; a second death comes later.
TOGETHER_SECONDS = 3
QUIET_SECONDS = 60


class Deaths:
    """Decides about retries, so that photos that kill workers do not kill two workers each.

    A photo that was alone with the worker killed it, and is not sent again. Of several photos any may have done it:
    all of them are sent again, but only after the first death in a minute. However many deadly photos come, retries
    cost one more worker a minute.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first: float | None = None

    def may_try_again(self, others: int) -> bool:
        """Say whether a photo is sent again whose worker just died; `others` photos were with TorchServe beside it."""
        if not others:
            return False
        now = self._clock()
        if self._first is None or now > self._first + QUIET_SECONDS:
            self._first = now
        return now <= self._first + TOGETHER_SECONDS
