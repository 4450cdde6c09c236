"""A training on a GPU: bfloat16, and to be resumed like any other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.training.support import RECIPE, SIDE, teach_colours, tiny
from training import checkpoints, photos
from training.devices import choose
from training.schedule import Pace
from training.student import SPEC
from training.trainer import Trainer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="This machine has no GPU that PyTorch can use.")


def make(folder: Path) -> Trainer:
    torch.manual_seed(1)
    return Trainer(tiny(), teach_colours, photos.load([folder], SIDE, choose("cuda")), RECIPE, SPEC)


def test_a_few_steps_bring_the_student_nearer_and_resuming_goes_on(folder: Path, tmp_path: Path) -> None:
    trainer = make(folder)
    pace = Pace(trainer.sides, steps=60)
    losses = [float(trainer.run_step(pace)) for _ in range(60)]
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])
    checkpoints.save(tmp_path, trainer, 1.0)
    second = make(folder)
    assert checkpoints.resume(tmp_path, second) == 1.0
    for name, one in trainer.student.state_dict().items():
        assert torch.equal(second.student.state_dict()[name], one), name
    assert torch.isfinite(second.run_step(Pace(trainer.sides, steps=70)))
