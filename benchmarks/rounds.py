"""One contender, one round: started, warmed, loaded step by step and stopped."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import load, service
from benchmarks.ceiling import ONE_AT_A_TIME
from benchmarks.lineup import CEILING_INT8, Contender
from benchmarks.load import Target
from benchmarks.results import CLIENTS, Figures, Outcome, Sample, Step
from benchmarks.service import Place, Running
from densenet_serving import paths
from densenet_serving.errors import CommandError
from densenet_serving.server.processes import postponed_signals

WARM_SECONDS = 2
WARM_CLIENTS = 8
CEILING_SECONDS = 90  # for loading the model and everything else but the measurements themselves

# A load lasts until about so many answers were had, so that the slowest contender has figures too.
ANSWERS_PER_CLIENT = 2
OPEN_REQUESTS = 30
LONGEST_SECONDS = 20.0

Report = Callable[[Sample], None]


@dataclass
class Pace:
    """How fast this contender has been: requests per second in the last closed loop, and its peak on the main photo."""

    seconds: float
    good: tuple[int, ...]
    last: float | None = None
    peak: float = 0.0

    def duration(self, requests: int, rate: float | None) -> float:
        if rate is None:
            return self.seconds
        needed = requests / rate if rate else math.inf
        return max(self.seconds, min(needed, LONGEST_SECONDS))


def run_contender(
    contender: Contender, place: Place, steps: list[Step], seconds: float, number: int, outcome: Outcome, done: Report
) -> None:
    """Add this round's samples to `outcome`. Raises CommandError where the contender fails."""
    bodies = {
        size: service.make_body(contender.form, contender.field, photo, place.folder)
        for size, photo in place.material.photos.items()
    }
    began = time.monotonic()
    with started(contender, place) as running:

        def target(photo: str) -> Target:
            body, headers = bodies[photo]
            return Target(running.url, body, headers | running.headers())

        phrase = service.wait_for_answer(running, lambda: target(steps[0].photo))
        outcome.start_seconds.append(time.monotonic() - began)
        load.closed(target(steps[0].photo), WARM_CLIENTS, WARM_SECONDS)
        pace = Pace(seconds, load.GOOD if phrase else load.GOOD_WITHOUT_PHRASE)
        for step in steps:
            running.tree.settle()
            if step.mode == "open" and not pace.peak:
                continue
            sample = measure_step(contender.name, running, step, target(step.photo), pace, number, place.folder)
            if step.mode == "closed":
                pace.last = sample.requests_per_second
                pace.peak = max(pace.peak, pace.last if step.photo == steps[0].photo else 0)
            outcome.samples.append(sample)
            done(sample)


@contextmanager
def started(contender: Contender, place: Place) -> Iterator[Running]:
    """Start a contender, and stop it after the block, or if a signal arrives while it starts."""
    running: Running | None = None
    try:
        with postponed_signals():
            running = contender.start(place)
        yield running
    finally:
        if running:
            running.stop()


def measure_step(
    name: str, running: Running, step: Step, target: Target, pace: Pace, number: int, folder: Path
) -> Sample:
    offered = pace.peak * step.amount / 100 if step.mode == "open" else None
    cpu = running.tree.cpu_seconds()
    if offered:
        duration = pace.duration(OPEN_REQUESTS, offered)
        figures = load.open_loop(target, offered, duration, folder / "h2load.log", pace.good)
    else:
        figures = load.closed(target, step.amount, pace.duration(ANSWERS_PER_CLIENT * step.amount, pace.last))
    used = running.tree.cpu_seconds() - cpu
    return make_sample(name, number, step, figures, used, running.tree.memory(), offered)


def make_sample(
    name: str, number: int, step: Step, figures: Figures, cpu: float, memory: int, offered: float | None
) -> Sample:
    return Sample(
        contender=name,
        round=number,
        step=step.key,
        requests_per_second=figures.rate,
        p50_ms=figures.p50_ms,
        p95_ms=figures.p95_ms,
        p99_ms=figures.p99_ms,
        errors=figures.errors,
        cpu_seconds_per_request=cpu / figures.requests if figures.requests else None,
        memory_bytes=memory,
        offered=offered,
    )


def run_ceiling(
    place: Place, steps: list[Step], seconds: float, number: int, outcome: Outcome, done: Report
) -> list[dict[str, Any]]:
    """Run `benchmarks.ceiling`; returns all it measured.

    Its samples stand where a reader compares: one image at a time beside one client, the best arrangement beside
    the most clients on the main photo, and beside the closed loop on every other photo.
    """
    main = steps[0].photo
    others = list(dict.fromkeys(step.photo for step in steps if step.photo != main))
    photos = [place.material.photos[size] for size in (main, *others)]
    int8 = place.material.int8 if outcome.name == CEILING_INT8 else None
    archive = int8.unpacked if int8 else place.material.unpacked
    command = [sys.executable, "-m", "benchmarks.ceiling", archive, seconds, place.cores, *photos]
    limit = CEILING_SECONDS + seconds * 20
    try:
        ended = subprocess.run(
            [str(part) for part in command], cwd=paths.ROOT, capture_output=True, text=True, timeout=limit
        )
    except subprocess.TimeoutExpired as error:
        raise CommandError("It did not end in time.") from error
    if ended.returncode:
        raise CommandError(f"It failed: {ended.stderr.strip()[-400:]}")
    measured: list[dict[str, Any]] = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    for step, result in place_ceiling(measured, steps, main):
        sample = ceiling_sample(outcome.name, step, result, number)
        outcome.samples.append(sample)
        done(sample)
    return [one | {"variant": f"{one['variant']}, int8"} for one in measured] if int8 else measured


def place_ceiling(measured: list[dict[str, Any]], steps: list[Step], main: str) -> list[tuple[Step, dict[str, Any]]]:
    """Pair each step that a ceiling makes sense for with its measurement."""
    best = max((m for m in measured if m["variant"] != ONE_AT_A_TIME and m["photo"] == main), key=lambda m: m["rate"])
    single = next(m for m in measured if m["variant"] == ONE_AT_A_TIME)
    by_photo = {m["photo"]: m for m in measured if m["photo"] != main}
    pairs = []
    for step in steps:
        if step.photo != main:
            pairs.append((step, by_photo[step.photo]))
        elif step.mode == "closed" and step.amount == min(CLIENTS):
            pairs.append((step, single))
        elif step.mode == "closed" and step.amount == max(CLIENTS):
            pairs.append((step, best))
    return pairs


def ceiling_sample(name: str, step: Step, result: dict[str, Any], number: int) -> Sample:
    return Sample(
        contender=name,
        round=number,
        step=step.key,
        requests_per_second=result["rate"],
        p50_ms=result["p50_ms"],
        p95_ms=result["p95_ms"],
        p99_ms=result["p99_ms"],
        errors=0,
        cpu_seconds_per_request=result["cpu_seconds_per_image"],
        memory_bytes=result["memory_bytes"],
    )
