from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from densenet_serving.errors import CommandError
from tests.training.support import RECIPE, STAGES, advance, make_trainer
from training import checkpoints
from training.recipe import FREE, LARGER
from training.trainer import Errors

STEPS = RECIPE.views // RECIPE.batch


def test_the_student_comes_nearer_to_the_teacher(folder: Path, cache: Path) -> None:
    one = make_trainer(folder, cache, replace(RECIPE, views=8 * 200))
    first = advance(one, 5).errors.means()
    advance(one, 185)
    one.errors = Errors.none()
    last = advance(one, 10).errors.means()
    assert one.stage == LARGER
    assert last[4] < 0.5 * first[4]  # the divergence
    assert last[0] < 0.5 * first[0]  # the first map


@pytest.mark.parametrize("interrupted_at", [3, STEPS // 2, STEPS - 2])
def test_an_interrupted_training_ends_in_the_same_weights(
    folder: Path, cache: Path, tmp_path: Path, interrupted_at: int
) -> None:
    """Bit for bit, in the first stage, at the fold and at the end."""
    whole = advance(make_trainer(folder, cache), STEPS)
    checkpoints.save(tmp_path, *advance(make_trainer(folder, cache), interrupted_at).state())
    second = make_trainer(folder, cache)
    torch.manual_seed(99)  # nothing depends on the global generator
    found = checkpoints.read(tmp_path)
    assert found is not None
    second.restore(*found)
    assert (second.step, second.views) == (interrupted_at, interrupted_at * RECIPE.batch)
    advance(second, STEPS - interrupted_at)
    assert second.stage == whole.stage == LARGER
    for name, value in whole.parameters.items():
        assert torch.equal(second.parameters[name], value), name
        assert torch.equal(second.average[name], whole.average[name]), name


def test_the_student_is_folded_where_the_free_stage_begins(folder: Path, cache: Path) -> None:
    one = advance(make_trainer(folder, cache), STEPS // 2 - 1)
    assert len(one.student.from_maps)
    advance(one, 1)
    assert one.stage == FREE
    assert not len(one.student.from_maps)
    assert not any("from_maps" in name for name in one.parameters)


def test_a_checkpoint_of_another_recipe_is_refused_but_more_views_are_not(folder: Path, cache: Path) -> None:
    state = advance(make_trainer(folder, cache), 1).state()
    make_trainer(folder, cache, replace(RECIPE, views=1000)).restore(*state)
    for changed, name in (
        (replace(RECIPE, seed=5), "seed"),
        (replace(RECIPE, stages=STAGES[:2]), "stages"),
    ):
        with pytest.raises(CommandError, match=f"another training: {name} was"):
            make_trainer(folder, cache, changed).restore(*state)


def test_a_loss_that_is_not_finite_ends_the_training(folder: Path, cache: Path) -> None:
    one = make_trainer(folder, cache)
    with torch.no_grad():
        one.student.classifier.bias.fill_(torch.nan)
    with pytest.raises(CommandError, match="The loss is nan at step 0"):
        one.learn()
