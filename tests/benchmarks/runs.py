"""A small finished benchmark to render."""

from __future__ import annotations

from benchmarks.ceiling import ONE_AT_A_TIME
from benchmarks.report import Run
from benchmarks.results import Outcome, Sample, make_steps


def make_sample(name: str, number: int, step: str, rate: float) -> Sample:
    return Sample(
        contender=name,
        round=number,
        step=step,
        requests_per_second=rate,
        p50_ms=1000 / rate,
        p95_ms=2000 / rate,
        p99_ms=3000 / rate,
        errors=0,
        cpu_seconds_per_request=0.5 / rate,
        memory_bytes=600 * 2**20,
        offered=rate if step.startswith("open") else None,
    )


def make_run() -> Run:
    steps = make_steps(["720x720", "320x240"])
    ours, tutorial = Outcome("ours", "ours"), Outcome("tutorial", "Flask tutorial")
    for number in (1, 2, 3):
        for step in steps:
            ours.samples.append(make_sample("ours", number, step.key, 100.0 + number))
            tutorial.samples.append(make_sample("tutorial", number, step.key, 6.0))
        ours.start_seconds.append(7.0 + number)
    missing = Outcome("ray", "Ray Serve", failure="ray cannot be installed:\nno such version")
    ceiling = [
        {"variant": v, "photo": "720x720", "rate": r, "cpu_seconds_per_image": 0.01, "p50_ms": p}
        for v, r, p in ((ONE_AT_A_TIME, 90.0, 11.0), ("2 processes of 1 thread, batch 4", 141.0, None))
    ]
    return Run(
        date="2026-01-02 03:04 UTC",
        commit="abc1234",
        machine={"cpu": "A processor", "cores": "2"},
        versions={"ours": {"torch": "2.13.0"}},
        rounds=3,
        seconds=3,
        photos={"720x720": 111_000, "320x240": 22_000},
        steps=steps,
        outcomes=[ours, tutorial, missing],
        ceiling=ceiling,
    )
