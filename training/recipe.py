"""What a training does, and when: its stages, their views and learning rates."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

WARM_UP = 100  # steps at the start of a stage, in which the optimizer's averages settle


@dataclass(frozen=True)
class Stage:
    """A part of the training.

    `share` is its part of all views. `side` is the side of the student's views and `teacher_side` that of the same
    views for the teacher, in pixels. The learning rate falls along a cosine from `first` to `last`.
    """

    name: str
    share: float
    side: int
    teacher_side: int
    first: float
    last: float


# Each section learns a map of the teacher from the map before it; then from its predecessor's output; then, folded,
# the whole network learns the answers, and the maps only guide it; at last on larger views.
STAGES = (
    Stage("forced", 0.03, 96, 160, 2e-3, 1e-3),
    Stage("chained", 0.05, 96, 160, 2e-3, 1e-3),
    Stage("free", 0.62, 96, 160, 1e-3, 5e-4),
    Stage("larger", 0.30, 128, 192, 5e-4, 0.0),
)
FORCED, CHAINED, FREE, LARGER = range(4)


@dataclass(frozen=True)
class Recipe:
    """What the weights depend on, besides the photos. `views` is the length of the training; it alone may change."""

    teachers: str = "efficientnet_lite0"
    views: int = 3_000_000
    batch: int = 64
    micro: int = 16  # views in memory at a time, in each process
    weight_decay: float = 0.02
    clip: float = 5.0  # the gradient's norm at most
    averaging: float = 0.998  # decay of the weights' average, per step
    seed: int = 0
    stages: tuple[Stage, ...] = STAGES

    def starts_at(self, number: int) -> int:
        """Return the views after which a stage begins; the stage after the last begins at the end."""
        return round(self.views * sum(stage.share for stage in self.stages[:number]))

    def stage_at(self, views: int) -> tuple[int, float]:
        """Return the number of the stage after so many views, and how far it is, 0 to 1."""
        last = len(self.stages) - 1
        number = next((k for k in range(last) if views < self.starts_at(k + 1)), last)
        start = self.starts_at(number)
        return number, min(1.0, (views - start) / max(1, self.starts_at(number + 1) - start))

    def learning_rate(self, views: int, steps_in_stage: int) -> float:
        number, progress = self.stage_at(views)
        stage = self.stages[number]
        falling = stage.last + (stage.first - stage.last) * (1 + math.cos(math.pi * progress)) / 2
        return falling * min(1.0, (steps_in_stage + 1) / WARM_UP)


def seed_of(*what: object) -> int:
    """Make a seed of 32 bits for each purpose."""
    return zlib.crc32(repr(what).encode())
