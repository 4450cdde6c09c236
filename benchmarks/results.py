"""Figures of one run, and what several runs say together."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Figures:
    """What a load generator saw. `requests` counts answers of status 2xx; times are milliseconds."""

    requests: int
    seconds: float
    errors: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None

    @property
    def rate(self) -> float:
        return self.requests / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Step:
    """One load: `amount` is clients in the closed loop, and percent of the contender's own peak in the open one."""

    mode: Literal["closed", "open"]
    photo: str
    amount: int

    @property
    def key(self) -> str:
        return f"{self.mode}/{self.photo}/{self.amount}"

    @property
    def title(self) -> str:
        return f"{self.photo}, {clients(self.amount) if self.mode == 'closed' else f'{self.amount} % of peak'}"


@dataclass(frozen=True)
class Sample:
    """One step of one round. `offered` is the open loop's rate, requests per second."""

    contender: str
    round: int
    step: str
    requests_per_second: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    errors: int
    cpu_seconds_per_request: float | None
    memory_bytes: int
    offered: float | None = None


@dataclass(frozen=True)
class Spread:
    median: float
    min: float
    max: float


@dataclass
class Outcome:
    """All that is known of one contender. `failure` says why it has no figures, or not all of them."""

    name: str
    title: str
    samples: list[Sample] = field(default_factory=list)
    start_seconds: list[float] = field(default_factory=list)
    failure: str | None = None

    def spread(self, step: str, value: str) -> Spread | None:
        return spread([getattr(sample, value) for sample in self.samples if sample.step == step])

    def errors(self) -> int:
        return sum(sample.errors for sample in self.samples)


def spread(values: Sequence[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    return Spread(statistics.median(known), min(known), max(known)) if known else None


def clients(number: int) -> str:
    return f"{number} client{'s' if number > 1 else ''}"


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """The nearest-rank percentile: the smallest value that at least `percent` % of all do not exceed."""
    if not ordered:
        return None
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


MAIN_PHOTO = "720x720"
CLIENTS = (1, 8, 32)
OTHER_PHOTO_CLIENTS = 8
PERCENTS = (50, 80)


def make_steps(sizes: Sequence[str]) -> list[Step]:
    """Closed loops on every photo; on the main one at each number of clients, then open loops."""
    main = MAIN_PHOTO if MAIN_PHOTO in sizes else sizes[0]
    steps = [Step("closed", main, clients) for clients in CLIENTS]
    steps += [Step("open", main, percent) for percent in PERCENTS]
    return steps + [Step("closed", size, OTHER_PHOTO_CLIENTS) for size in sizes if size != main]
