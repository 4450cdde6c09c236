from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from safetensors.torch import load_file, save_file

from scripts import paths
from scripts.console import run
from scripts.errors import CommandError
from tests.training.support import CLASSES, teach_colours, tiny
from training import card, checkpoints, student, teachers
from training.devices import choose
from training.distill import distill, read_sides

SMALL = {"sides": "32,48", "stored_side": 40, "batch": 8, "averaging": 0.9, "statistics": 16, "device": "cpu"}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(classes: int, init: Path | None = None) -> object:
        network = tiny(classes)
        if init:
            student.load(network, load_file(init), str(init))
        return network

    monkeypatch.setattr(student, "build", build)
    monkeypatch.setattr(teachers, "load", lambda *_: (teach_colours, CLASSES))


@pytest.mark.usefixtures("small")
def test_from_photos_to_weights_that_can_be_served_in_two_sessions(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_folder, output = tmp_path / "run", tmp_path / "student.safetensors"

    def session(stop_after: float | None) -> None:
        distill([folder], run_folder, steps=30, stop_after=stop_after, output=output, **SMALL)  # type: ignore[arg-type]

    with pytest.raises(typer.Exit) as ended:
        session(stop_after=1e-9)
    assert ended.value.exit_code == 0
    assert "the same command goes on from there" in capsys.readouterr().err
    assert not output.exists()
    session(stop_after=None)
    facts = card.read_facts(output)
    assert facts is not None
    assert facts.steps == 30
    assert json.loads((run_folder / "log.jsonl").read_text().splitlines()[-1])["step"] == 20
    tiny().load_state_dict(load_file(output))
    session(stop_after=None)  # nothing is left to do but to finish again
    assert card.read_facts(output) == facts


@pytest.mark.usefixtures("small")
def test_a_training_can_begin_with_weights(folder: Path, tmp_path: Path) -> None:
    start = tiny().state_dict()
    save_file(start, tmp_path / "start.safetensors")
    with pytest.raises(typer.Exit):
        distill(
            [folder],
            tmp_path,
            steps=9,
            init=tmp_path / "start.safetensors",
            stop_after=1e-9,
            **SMALL,  # type: ignore[arg-type]
        )
    found = checkpoints.read(tmp_path)
    assert found is not None
    assert all(abs(one - found[1][f"student.{name}"]).max() < 1 for name, one in start.items() if one.ndim == 4)
    with pytest.raises(CommandError, match="does not fit the student"):
        student.load(tiny(3), start, "start")


def test_options_that_contradict_each_other_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="give --minutes or --steps, not both"):
        distill([folder], tmp_path, minutes=1, steps=1)
    with pytest.raises(CommandError, match="--sides must lie between 32 and twice --stored-side, 200"):
        read_sides("128,256", 100)
    with pytest.raises(CommandError, match="--sides takes numbers of pixels"):
        read_sides("128,large", 100)
    assert read_sides("128,160", 176) == (128, 160)
    for name in ("toaster", "meta", "cuda:99"):
        with pytest.raises(CommandError, match="choose"):
            choose(name)


def test_no_photos_end_the_command_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--device", "cpu", "--teacher", "efficientnet_lite0"]
    monkeypatch.setattr(sys, "argv", ["training.distill", str(tmp_path), *options])
    with pytest.raises(SystemExit) as ended:
        run(distill)
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert f"Error: The folder {tmp_path} holds no photo" in said
    assert "Traceback" not in said


def test_sigterm_ends_the_command_with_a_checkpoint_and_a_sentence(folder: Path, tmp_path: Path) -> None:
    """The real student, in a process of its own."""
    command = [sys.executable, "-m", "training.distill", str(folder), "--run", str(tmp_path), "--steps", "100000"]
    command += ["--sides", "32", "--stored-side", "32", "--batch", "2", "--device", "cpu"]
    with subprocess.Popen(
        [*command, "--teacher", "efficientnet_lite0"],
        cwd=paths.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["step"] == 1
        os.kill(process.pid, signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    found = checkpoints.read(tmp_path)
    assert found is not None
    assert f"Stopped at step {found[0].step}, 0% of the way: the same command goes on from there." in said
    assert "Traceback" not in said
