"""Which photos are sent again after a worker died with them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

# The photos of one batch fail within this time; another death comes later.
TOGETHER_SECONDS = 3
QUIET_SECONDS = 60
FORGIVEN = 3  # deaths in QUIET_SECONDS


class Deaths:
    """Decides about retries, so that photos that kill workers do not kill many each.

    A photo that was alone with the worker killed it, and is not sent again. Of several photos any may have done it:
    all of them are sent again, after as many deaths in a minute as are forgiven. However many deadly photos come,
    retries cost no more workers than that.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._deaths: deque[float] = deque()

    def may_try_again(self, others: int) -> bool:
        """Say whether a photo is sent again whose worker just died; `others` photos were with TorchServe beside it."""
        if not others:
            return False
        now = self._clock()
        while self._deaths and now > self._deaths[0] + QUIET_SECONDS:
            self._deaths.popleft()
        if not self._deaths or now > self._deaths[-1] + TOGETHER_SECONDS:
            self._deaths.append(now)
        return len(self._deaths) <= FORGIVEN
