"""Which photos are sent again when a worker died with them: not the one that killed it, as far as that can be told."""

from __future__ import annotations

import time
from collections.abc import Callable

# The photos of one batch are answered together; what a second worker dies of comes later.
TOGETHER_SECONDS = 1
QUIET_SECONDS = 60


class Deaths:
    """A photo that was alone is what killed the worker. Of several any may be: all get another try, once a minute.

    The one that did kill a second worker then. With a try after each death somebody who sends such photos would end
    two workers with each of them; with this rule one more a minute, however many are sent.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first: float | None = None

    def may_try_again(self, others: int) -> bool:
        """Tell of a photo with which a worker just died, and with `others` beside it, whether it is sent again."""
        if not others:
            return False
        now = self._clock()
        if self._first is None or now > self._first + QUIET_SECONDS:
            self._first = now
        return now <= self._first + TOGETHER_SECONDS
