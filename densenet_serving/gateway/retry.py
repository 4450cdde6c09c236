"""Which photos are sent again after their connection broke, or a worker died with them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

import httpx

from densenet_client import LOST, Outcome
from densenet_serving.gateway.answer import worker_died

# The photos of one batch fail within this time; another death comes later.
TOGETHER_SECONDS = 3
QUIET_SECONDS = 60
FORGIVEN = 3  # deaths in QUIET_SECONDS
# A photo is sent at most so often again, each time because a worker died with it and others.
RETRIES = 2


class CrashPolicy:
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


class PhotoRetry:
    """Decides about one photo: it is sent again once if the connection broke, and as `crashes` says after a death.

    `in_flight` counts the photos that are with TorchServe, this one included.
    """

    def __init__(self, crashes: CrashPolicy, in_flight: Callable[[], int]) -> None:
        self._crashes, self._in_flight = crashes, in_flight
        self._broken = self._died = 0
        self._others = in_flight() - 1

    def __call__(self, _attempt: int, outcome: Outcome) -> float | None:
        before, self._others = self._others, self._in_flight() - 1
        if isinstance(outcome, LOST):
            self._broken += 1
            again = self._broken == 1
        else:
            died = isinstance(outcome, httpx.Response) and worker_died(outcome)
            again = died and self._died < RETRIES and self._crashes.may_try_again(max(before, self._others))
            self._died += died
        return 0.0 if again else None
