from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from densenet_serving.errors import CommandError
from tests.training.support import CPU, RECIPE, STAGES, advance, make_trainer
from training import checkpoints, photos, student
from training.recipe import FREE, LARGER
from training.student import Student
from training.teacher import Teacher
from training.trainer import Errors, Trainer

STEPS = RECIPE.views // RECIPE.batch
Whole = tuple[Trainer, dict[int, Path]]


def test_the_student_comes_nearer_to_the_teacher(folder: Path, cache: Path) -> None:
    one = make_trainer(folder, cache, replace(RECIPE, views=8 * 200))
    first = advance(one, 5).errors.means()
    advance(one, 185)
    one.errors = Errors.none()
    last = advance(one, 10).errors.means()
    assert one.stage == LARGER
    assert last[4] < 0.5 * first[4]  # the divergence
    assert last[0] < 0.5 * first[0]  # the first map


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.jit, which OpenVINO calls
def test_the_real_student_learns_from_the_real_teacher(folder: Path, cache: Path) -> None:
    teacher = Teacher("efficientnet_lite0", CPU, threads=1)
    network = student.build(teacher.classes)
    recipe = replace(RECIPE, batch=2, micro=2)
    one = advance(Trainer(Student(network), teacher, photos.load([folder], cache), recipe, 0, 1), 1)
    assert teacher.classes == 1000
    assert (one.step, all(math.isfinite(error) for error in one.errors.means())) == (1, True)


@pytest.fixture(scope="module")
def whole(folder: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """A training that ended, with its checkpoints by step: in the first stage, around the fold, near the end."""
    one = make_trainer(folder, cache)
    saved = {step: tmp_path_factory.mktemp(str(step)) for step in (2, STEPS // 2 - 1, STEPS // 2, STEPS - 2)}
    for step, path in saved.items():
        checkpoints.save(path, *advance(one, step - one.step).state())
    return advance(one, STEPS - one.step), saved


@pytest.mark.parametrize("step", [2, STEPS // 2, STEPS - 2])
def test_an_interrupted_training_ends_in_the_same_weights(whole: Whole, folder: Path, cache: Path, step: int) -> None:
    """Bit for bit, in the first stage, at the fold and at the end."""
    uninterrupted, saved = whole
    second = make_trainer(folder, cache, settled=False)
    torch.manual_seed(99)  # nothing depends on the global generator
    found = checkpoints.read(saved[step])
    assert found is not None
    second.restore(*found)
    assert (second.step, second.views) == (step, step * RECIPE.batch)
    advance(second, STEPS - step)
    assert second.stage == uninterrupted.stage == LARGER
    for name, value in uninterrupted.parameters.items():
        assert torch.equal(second.parameters[name], value), name
        assert torch.equal(second.average[name], uninterrupted.average[name]), name


@pytest.mark.parametrize(("step", "folded"), [(STEPS // 2 - 1, False), (STEPS // 2, True)])
def test_the_student_is_folded_where_the_free_stage_begins(whole: Whole, step: int, folded: bool) -> None:
    found = checkpoints.read(whole[1][step])
    assert found is not None
    assert (found[0].stage >= FREE) is folded
    assert any("from_maps" in name for name in found[1]) is not folded


def test_a_checkpoint_of_another_recipe_is_refused_but_more_views_are_not(folder: Path, cache: Path) -> None:
    state = advance(make_trainer(folder, cache), 1).state()
    make_trainer(folder, cache, replace(RECIPE, views=1000), settled=False).restore(*state)
    for changed, name in (
        (replace(RECIPE, seed=5), "seed"),
        (replace(RECIPE, stages=STAGES[:2]), "stages"),
    ):
        with pytest.raises(CommandError, match=f"another training: {name} was"):
            make_trainer(folder, cache, changed, settled=False).restore(*state)


def test_a_loss_that_is_not_finite_ends_the_training(folder: Path, cache: Path) -> None:
    one = make_trainer(folder, cache, settled=False)
    with torch.no_grad():
        one.student.classifier.bias.fill_(torch.nan)
    with pytest.raises(CommandError, match="The loss is nan at step 0"):
        one.learn()
