"""Percentiles, medians and spreads, and the plan of the loads."""

from __future__ import annotations

import math

import pytest

from benchmarks.results import Outcome, Spread, Step, make_steps, percentile
from benchmarks.rounds import LONGEST_SECONDS, Pace
from tests.benchmarks.runs import make_sample


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [([], 50, None), ([7], 99, 7), ([1, 2, 3, 4], 50, 2), (list(range(1, 101)), 99, 99), (list(range(1, 101)), 95, 95)],
)
def test_percentile_is_the_nearest_rank(values: list[float], percent: float, expected: float | None) -> None:
    assert percentile(values, percent) == expected


def test_an_outcome_spreads_one_step_over_its_rounds() -> None:
    outcome = Outcome(
        "ours", "ours", [make_sample("ours", n, f"closed/720x720/{c}", 10.0 * n) for n in (1, 2, 3) for c in (1, 8)]
    )
    assert outcome.spread("closed/720x720/8", "requests_per_second") == Spread(20.0, 10.0, 30.0)
    assert outcome.spread("open/720x720/50", "requests_per_second") is None


def test_steps_begin_with_the_main_photo() -> None:
    steps = make_steps(["320x240", "720x720"])
    assert [step.key for step in steps] == [
        "closed/720x720/1",
        "closed/720x720/8",
        "closed/720x720/32",
        "open/720x720/50",
        "open/720x720/80",
        "closed/320x240/8",
    ]
    assert make_steps(["64x64"])[0] == Step("closed", "64x64", 1)


@pytest.mark.parametrize(
    ("rate", "expected"), [(None, 3), (1000, 3), (12.8, 5), (0.5, LONGEST_SECONDS), (0, LONGEST_SECONDS)]
)
def test_a_slow_contender_is_loaded_longer_within_bounds(rate: float | None, expected: float) -> None:
    assert math.isclose(Pace(3, (200,)).duration(64, rate), expected)
