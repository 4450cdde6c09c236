from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.training.support import CLASSES, RECIPE, make_trainer, teach_colours
from training.schedule import Pace
from training.trainer import batch_indices, distance


def run(folder: Path, steps: int) -> list[float]:
    trainer = make_trainer(folder)
    pace = Pace(trainer.sides, steps=steps)
    return [float(trainer.run_step(pace)) for _ in range(steps)]


def test_a_few_steps_bring_the_student_nearer_to_the_teacher(folder: Path) -> None:
    losses = run(folder, 60)
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])


def test_teacher_and_student_see_the_same_view(folder: Path) -> None:
    trainer = make_trainer(folder)
    seen: list[Tensor] = []

    def teach(views: Tensor) -> Tensor:
        seen.append(views)
        return teach_colours(views)

    trainer.teacher = teach
    answer = trainer.answer
    trainer.answer = lambda views: answer(seen.append(views) or views)  # type: ignore[method-assign,func-returns-value]
    trainer.run_step(Pace(trainer.sides, steps=1))
    assert len(seen) == 2
    assert seen[0] is seen[1]
    assert seen[0].shape == (RECIPE.batch, 3, 32, 32)


def test_the_student_gets_normalised_views(folder: Path) -> None:
    trainer = make_trainer(folder)
    given: list[Tensor] = []
    trainer.student.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    trainer.answer(torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1).expand(2, 3, 32, 32))
    torch.testing.assert_close(given[0], torch.zeros(2, 3, 32, 32))


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(folder: Path) -> None:
    assert run(folder, 3) == run(folder, 3)
    trainer = make_trainer(folder, replace(RECIPE, seed=5))
    assert float(trainer.run_step(Pace(trainer.sides, steps=3))) != run(folder, 3)[0]


def test_the_average_follows_the_weights(folder: Path) -> None:
    trainer = make_trainer(folder)
    start = {name: one.clone() for name, one in trainer.average.items()}
    trainer.run_step(Pace(trainer.sides, steps=5))
    for name, one in trainer.parameters.items():
        torch.testing.assert_close(trainer.average[name], start[name] + 0.9 * (one - start[name]))  # 1 / 10 at first


def test_views_grow_and_the_rate_falls_to_the_end(folder: Path) -> None:
    trainer = make_trainer(folder)
    pace = Pace(trainer.sides, steps=5)
    sides, rates = [], []
    for _ in range(5):
        sides.append(trainer.sides.at(trainer.progress))
        trainer.run_step(pace)
        rates.append(trainer.optimizer.param_groups[0]["lr"])
    assert sides == [32, 32, 32, 48, 48]
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert trainer.progress == pytest.approx(1.0)


def test_distance_is_the_divergence_of_the_softened_distributions() -> None:
    ours, theirs = torch.randn(2, 3, CLASSES, generator=torch.Generator().manual_seed(0)).unbind()
    p, q = (theirs / 2).softmax(1), (ours / 2).softmax(1)
    expected = (p * (p / q).log()).sum(1).mean() * 4
    torch.testing.assert_close(distance(ours, theirs, 2.0), expected)
    assert float(distance(theirs, theirs.log_softmax(1), 2.0)) == pytest.approx(0, abs=1e-6)


def test_every_photo_comes_once_before_any_comes_again() -> None:
    order = torch.cat([batch_indices(10, 4, step, seed=0) for step in range(5)])
    for start in (0, 10):
        assert sorted(order[start : start + 10].tolist()) == list(range(10))
    assert not torch.equal(order[:10], order[10:])
    assert len(batch_indices(3, 8, 0, seed=0)) == 8
