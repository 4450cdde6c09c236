from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from scripts.errors import CommandError
from tests.training.support import RECIPE, make_trainer, write_photos
from training import checkpoints
from training.schedule import Pace
from training.trainer import Trainer

STEPS = 6


def advance(trainer: Trainer, steps: int) -> Trainer:
    pace = Pace(trainer.sides, steps=STEPS)
    for _ in range(steps):
        trainer.run_step(pace)
    return trainer


def test_an_interrupted_training_ends_in_the_same_weights_to_the_last_bit(folder: Path, tmp_path: Path) -> None:
    whole = advance(make_trainer(folder), STEPS)
    checkpoints.save(tmp_path, advance(make_trainer(folder), 4), seconds=7.5)
    second = make_trainer(folder)
    torch.manual_seed(99)  # nothing hangs on the global generator
    assert checkpoints.resume(tmp_path, second) == 7.5
    assert second.step == 4
    assert second.progress == pytest.approx(4 / 6)
    advance(second, STEPS - 4)
    assert second.progress == whole.progress
    for name, one in whole.student.state_dict().items():
        assert torch.equal(second.student.state_dict()[name], one), name
    for name, one in whole.average.items():
        assert torch.equal(second.average[name], one), name


def test_a_folder_without_a_checkpoint_is_a_beginning(folder: Path, tmp_path: Path) -> None:
    trainer = make_trainer(folder)
    assert checkpoints.resume(tmp_path, trainer) is None
    assert trainer.step == 0


def test_a_checkpoint_of_another_training_is_refused(folder: Path, tmp_path: Path) -> None:
    checkpoints.save(tmp_path / "run", make_trainer(folder), 0.0)
    with pytest.raises(CommandError, match=r"is of another training \(batch was 8 and is 4 now\)"):
        checkpoints.resume(tmp_path / "run", make_trainer(folder, replace(RECIPE, batch=4)))
    with pytest.raises(CommandError, match=r"is of another training \(photos was"):
        checkpoints.resume(tmp_path / "run", make_trainer(write_photos(tmp_path / "others", 9)))


@pytest.mark.parametrize("content", ["text", "tensors"])
def test_what_is_no_checkpoint_is_refused(folder: Path, tmp_path: Path, content: str) -> None:
    path = tmp_path / checkpoints.FILE
    if content == "text":
        path.write_bytes(b"no checkpoint")
    else:
        save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(CommandError, match="is damaged or no checkpoint of a training"):
        checkpoints.resume(tmp_path, make_trainer(folder))


def test_a_failed_write_leaves_the_checkpoint_as_it_was(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = checkpoints.save(tmp_path, make_trainer(folder), 1.0)
    before = path.read_bytes()

    def write_half(_: object, to: Path, *__: object) -> None:
        to.write_bytes(before[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", write_half)
    with pytest.raises(OSError, match="No space"):
        checkpoints.save(tmp_path, make_trainer(folder), 2.0)
    assert [one.name for one in tmp_path.iterdir()] == [checkpoints.FILE]
    assert path.read_bytes() == before
