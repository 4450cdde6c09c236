"""How far the training is, and what follows from that: the learning rate and the views' side."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from itertools import pairwise

WARM_UP = 0.05  # of the training
MARGIN = 0.02  # of the whole time, for what turns out slower than it was


def learning_rate(progress: float, peak: float) -> float:
    """One cycle: up in a straight line, then down along a cosine to zero at progress 1."""
    if progress < WARM_UP:
        return peak * (progress / WARM_UP + 0.01)
    return peak * (1 + math.cos(math.pi * min(1, (progress - WARM_UP) / (1 - WARM_UP)))) / 2


class Sides:
    """The views' side in pixels over the training: small ones first, which cost less, the larger ones at the end."""

    def __init__(self, sides: Sequence[int]) -> None:
        # The first side takes 60 % of the progress, the others share the rest.
        rest = [0.6 + 0.4 * i / (len(sides) - 1) for i in range(len(sides) - 1)] if len(sides) > 1 else []
        self.starts = [0.0, *rest]
        self.sides = list(sides)

    def at(self, progress: float) -> int:
        return next(
            side for start, side in reversed(list(zip(self.starts, self.sides, strict=True))) if progress >= start
        )

    def work(self, progress: float) -> float:
        """Sum up what is left: pixels of a view times share of the training. Time a step goes with the pixels."""
        edges = [*self.starts, 1.0]
        return sum(
            side**2 * max(0.0, end - max(start, progress))
            for (start, end), side in zip(pairwise(edges), self.sides, strict=True)
        )


class Pace:
    """Progress a step, so that the training ends with its steps or with its time.

    With a time, the pace follows what is measured, again and again: until the first measurement the training stands
    at the learning rate it had. `spent` is the seconds that earlier sessions of the same training took.
    """

    def __init__(
        self,
        sides: Sides,
        steps: int | None = None,
        seconds: float | None = None,
        spent: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sides, self.steps, self.seconds, self.clock = sides, steps, seconds, clock
        self.started = clock() - spent
        self.per_step = 0.0
        self.seconds_per_pixel: float | None = None  # of a view's side squared
        self.mark: tuple[float, int, int] | None = None  # when, at which step of the session, at which side

    @property
    def spent(self) -> float:
        """Seconds of training, those of earlier sessions included."""
        return self.clock() - self.started

    def advance(self, progress: float, step: int) -> float:
        """Return the progress after step number `step`, which counts from 0."""
        if self.steps is not None:
            return progress + (1 - progress) / max(1, self.steps - step)
        return min(1.0, progress + self.per_step)

    def measure(self, progress: float, session_step: int) -> None:
        """Take the time and set the pace anew; the device must have finished its work."""
        side, now = self.sides.at(progress), self.clock()
        # The first steps at a side choose kernels: nothing is taken from them.
        if self.mark and self.mark[2] == side and session_step > self.mark[1]:
            self.seconds_per_pixel = (now - self.mark[0]) / (session_step - self.mark[1]) / side**2
        self.mark = (now, session_step, side)
        if self.seconds is not None and self.seconds_per_pixel is not None:
            left = self.seconds * (1 - MARGIN) - self.spent
            self.per_step = self.sides.work(progress) * self.seconds_per_pixel / left if left > 0 else 1.0

    def remaining(self, progress: float, step: int) -> float | None:
        """Estimate the seconds left; None before anything was measured."""
        if self.seconds is not None:
            return max(0.0, self.seconds - self.spent)
        if self.steps is None or self.seconds_per_pixel is None or progress >= 1:
            return None
        return self.sides.work(progress) * self.seconds_per_pixel * (self.steps - step) / (1 - progress)

    def is_over(self, progress: float, step: int) -> bool:
        if self.steps is not None:
            return step >= self.steps
        # The clock is the backstop: a training that became too slow to follow ends here.
        return progress >= 1 or (self.seconds is not None and self.spent >= self.seconds)


def is_measured(session_step: int) -> bool:
    """Early, so that no time is lost on a slow machine, and then now and again."""
    return session_step in (1, 3, 6, 10) or (session_step > 0 and session_step % 20 == 0)
