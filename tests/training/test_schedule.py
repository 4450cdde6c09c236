from __future__ import annotations

from itertools import pairwise

import pytest

from training.schedule import Pace, Sides, is_measured, learning_rate


class Clock:
    """A training on a machine whose step takes so many seconds at a side."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def run(self, pace: Pace, seconds: dict[int, float], progress: float = 0.0) -> tuple[float, int, list[int]]:
        """Take steps until the pace says that it is over; returns the progress, the steps and each one's side."""
        seen: list[int] = []
        while not pace.is_over(progress, len(seen)):
            seen.append(pace.sides.at(progress))
            progress = pace.advance(progress, len(seen) - 1)
            self.now += seconds[seen[-1]]
            if is_measured(len(seen)):
                pace.measure(progress, len(seen))
        return progress, len(seen), seen


def test_the_learning_rate_rises_and_falls_to_nothing() -> None:
    rates = [learning_rate(i / 1000, 1.0) for i in range(1001)]
    assert rates[0] == 0.01
    assert rates[50] == 1.0
    assert max(rates) <= 1.01
    assert all(later <= earlier for earlier, later in pairwise(rates[50:]))
    assert rates[-1] == pytest.approx(0)


def test_sides_rise_in_the_last_two_fifths() -> None:
    sides = Sides((128, 160, 176))
    assert [sides.at(progress) for progress in (0.0, 0.59, 0.6, 0.79, 0.8, 1.0)] == [128, 128, 160, 160, 176, 176]
    assert Sides((64,)).at(1.0) == 64


def test_the_work_left_is_that_of_the_sides_still_to_come() -> None:
    sides = Sides((100, 200))
    assert sides.work(0.0) == pytest.approx(0.6 * 100**2 + 0.4 * 200**2)
    assert sides.work(0.8) == pytest.approx(0.2 * 200**2)
    assert sides.work(1.0) == 0


def test_a_training_of_steps_ends_with_them() -> None:
    clock = Clock()
    pace = Pace(Sides((100, 200)), steps=50, clock=clock)
    progress, steps, sides = clock.run(pace, {100: 1.0, 200: 4.0})
    assert progress == pytest.approx(1.0)
    assert steps == 50
    assert sides.count(100) == 30


@pytest.mark.parametrize("seconds", [{100: 0.1, 200: 0.4}, {100: 0.5, 200: 1.2}, {100: 0.5, 200: 3.0}])
def test_a_training_of_minutes_ends_with_them_and_with_its_schedule(seconds: dict[int, float]) -> None:
    """Also where the larger views take more or less than their pixels say."""
    clock = Clock()
    pace = Pace(Sides((100, 200)), seconds=600, clock=clock)
    progress, _, sides = clock.run(pace, seconds)
    assert progress == pytest.approx(1.0)
    assert 570 < pace.spent <= 600
    assert set(sides) == {100, 200}


def test_a_machine_that_slows_down_still_ends_in_time() -> None:
    clock = Clock()
    pace = Pace(Sides((100,)), seconds=600, clock=clock)
    seconds = {100: 0.5}
    progress, steps = 0.0, 0
    while not pace.is_over(progress, steps):
        progress = pace.advance(progress, steps)
        steps += 1
        seconds[100] *= 1.001
        clock.now += seconds[100]
        if is_measured(steps):
            pace.measure(progress, steps)
    assert progress > 0.99
    assert pace.spent <= 601


def test_the_clock_ends_a_training_that_nothing_can_save() -> None:
    clock = Clock()
    pace = Pace(Sides((100,)), seconds=10, clock=clock)
    progress, steps, _ = clock.run(pace, {100: 6.0})
    assert steps == 2
    assert progress < 1


def test_time_goes_on_where_an_earlier_session_ended() -> None:
    clock = Clock()
    pace = Pace(Sides((100,)), seconds=600, spent=500, clock=clock)
    assert pace.remaining(0.5, 10) == 100
    progress, _, _ = clock.run(pace, {100: 0.5}, progress=0.5)
    assert progress == pytest.approx(1.0)
    assert 580 < pace.spent <= 600


def test_the_time_of_a_training_of_steps_is_estimated() -> None:
    clock = Clock()
    pace = Pace(Sides((100,)), steps=100, clock=clock)
    assert pace.remaining(0.0, 0) is None
    pace.measure(0.0, 1)
    clock.now += 20
    pace.measure(0.1, 11)
    assert pace.remaining(0.1, 10) == pytest.approx(180)
