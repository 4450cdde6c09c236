from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from safetensors.torch import load_file

from densenet_serving import paths
from densenet_serving.console import run
from densenet_serving.errors import CommandError
from tests.training.support import tiny
from training import card, checkpoints, distill

SMALL: dict[str, Any] = {"batch": 8, "statistics": 16, "device": "cpu", "processes": 1, "view_count": 96}


@pytest.mark.usefixtures("small")
def test_from_photos_to_weights_in_two_sessions(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_folder, output = tmp_path / "run", tmp_path / "student.safetensors"

    def session(hours: float) -> None:
        distill.distill([folder], run_folder, hours=hours, output=output, **SMALL)

    with pytest.raises(typer.Exit) as ended:
        session(hours=1e-9)
    assert ended.value.exit_code == 0
    assert "the same command continues from there" in capsys.readouterr().err
    assert not output.exists()
    session(hours=math.inf)
    facts = card.read_facts(output)
    assert facts is not None
    assert facts.steps == 12
    last = json.loads((run_folder / "log.jsonl").read_text().splitlines()[-1])
    assert (last["views"], last["stage"]) == (96, "larger")
    tiny().load_state_dict(load_file(output), strict=False)
    session(hours=math.inf)  # nothing is left to do but to finish again
    assert card.read_facts(output) == facts


@pytest.mark.usefixtures("small")
def test_accuracy_is_logged_while_training(folder: Path, tmp_path: Path) -> None:
    labelled = tmp_path / "labelled"
    labelled.mkdir()
    for number, path in enumerate(sorted(folder.iterdir())[:6]):
        (labelled / f"{number:04}.jpg").write_bytes(path.read_bytes())
    distill.distill([folder], tmp_path / "run", evaluate=labelled, evaluate_every=64, **SMALL)
    found = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    measured = [one for one in found if "top1" in one]
    assert [one["views"] for one in measured] == [64]
    assert 0 <= measured[0]["top1"] <= measured[0]["top5"] <= 1


@pytest.mark.parametrize(
    ("name", "said"), [("toaster", "There is no device"), ("cuda", "finds no GPU"), ("meta", "no")]
)
def test_a_device_that_is_not_there_is_refused(name: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(CommandError, match=said):
        distill.choose(name)
    assert distill.choose("auto") == "cpu"


def test_no_photos_end_the_command_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["training.distill", str(tmp_path), "--device", "cpu", "--run", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        run(distill.distill)
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert f"Error: {tmp_path} " in said
    assert "Traceback" not in said


PROGRAM = """
import pytest
from densenet_serving.console import run
from tests.training.support import simplify
from training.distill import distill

simplify(pytest.MonkeyPatch())
if __name__ == "__main__":
    run(distill)
"""


def test_sigterm_ends_two_processes_with_a_checkpoint_and_a_sentence(folder: Path, tmp_path: Path) -> None:
    program = tmp_path / "train.py"  # the other process runs its first lines too
    program.write_text(PROGRAM)
    command = [sys.executable, str(program), str(folder), "--run", str(tmp_path), "--batch", "4", "--processes", "2"]
    with subprocess.Popen(
        [*command, "--device", "cpu", "--checkpoint-minutes", "0"],
        cwd=paths.ROOT,
        env=os.environ | {"PYTHONPATH": str(paths.ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert "photos, 2 process(es), from view 0" in next(line for line in process.stderr if "photos" in line)
        os.kill(process.pid, signal.SIGTERM)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM
    found = checkpoints.read(tmp_path)
    assert found is not None
    assert f"Stopped at view {found[0].views:,} of 3,000,000" in said
    assert "Traceback" not in said
