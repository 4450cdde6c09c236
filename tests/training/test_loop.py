from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import torch

from scripts.errors import CommandError
from tests.training.support import make_trainer
from training import checkpoints
from training.loop import LOG, train
from training.schedule import Pace
from training.trainer import Trainer


def test_a_session_logs_and_ends_in_a_checkpoint(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = make_trainer(folder)
    assert train(trainer, Pace(trainer.sides, steps=7), tmp_path / "run", checkpoint_seconds=0) == 0
    found = checkpoints.read(tmp_path / "run")
    assert found is not None
    assert found[0].step == 7
    assert found[0].progress == pytest.approx(1.0)
    lines = (tmp_path / "run" / LOG).read_text()
    assert capsys.readouterr().out == lines  # a pipe gets what the file gets
    records = [json.loads(line) for line in lines.splitlines()]
    assert [record["step"] for record in records] == [1, 3, 6]
    assert all(record["loss"] > 0 and record["images_per_second"] > 0 for record in records)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_session_after_its_step_with_a_checkpoint(
    folder: Path, tmp_path: Path, number: signal.Signals
) -> None:
    trainer = make_trainer(folder)
    run_step = trainer.run_step

    def interrupted(pace: Pace) -> torch.Tensor:
        if trainer.step == 2:
            os.kill(os.getpid(), number)
        return run_step(pace)

    trainer.run_step = interrupted  # type: ignore[method-assign]
    before = signal.getsignal(number)
    assert train(trainer, Pace(trainer.sides, steps=50), tmp_path, checkpoint_seconds=1e9) == number
    assert signal.getsignal(number) == before
    found = checkpoints.read(tmp_path)
    assert found is not None
    assert found[0].step == 3


def test_a_session_ends_with_its_time(folder: Path, tmp_path: Path) -> None:
    trainer = make_trainer(folder)
    pace = Pace(trainer.sides, steps=1_000_000)
    assert train(trainer, pace, tmp_path, checkpoint_seconds=1e9, session_seconds=0.2) == 0
    assert trainer.step > 0
    assert not pace.is_over(trainer.progress, trainer.step)


def test_a_loss_that_is_no_number_ends_in_a_sentence_and_spares_the_checkpoint(folder: Path, tmp_path: Path) -> None:
    checkpoints.save(tmp_path, make_trainer(folder), 0.0)
    before = (tmp_path / checkpoints.FILE).read_bytes()
    trainer: Trainer = make_trainer(folder)
    trainer.teacher = lambda views: torch.full((len(views), 6), torch.nan)
    with pytest.raises(CommandError, match="The loss is nan at step 1: begin anew with half the --learning-rate"):
        train(trainer, Pace(trainer.sides, steps=5), tmp_path, checkpoint_seconds=1e9)
    assert (tmp_path / checkpoints.FILE).read_bytes() == before
