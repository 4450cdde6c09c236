from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
from rich.console import Console

from densenet_serving import paths
from densenet_serving.build.weights import from_path
from densenet_serving.errors import CommandError
from handler.card import Accuracy
from tests.pictures import encode, photo
from training import card, evaluate, student
from training.evaluate import draw, measure
from training.finish import export

FACTS = card.Facts("efficientnet_lite0", "40 photos", 3, 2.0, "Apache-2.0")


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos named by their class, of which two are in no doubt, and a damaged one."""
    folder = tmp_path_factory.mktemp("labelled")
    table = json.loads(paths.LABELS.read_text())
    for name, label in (("chelsea", "Egyptian_cat"), ("coffee", "espresso"), ("camera", "tripod")):
        index = next(int(key) for key, (_, known) in table.items() if known == label)
        (folder / f"{index:04}.png").write_bytes(encode(photo(name), "PNG"))
    (folder / "0000.jpg").write_bytes(b"\xff\xd8 damaged")
    return folder


def test_figures_of_a_case_worked_out_by_hand() -> None:
    # Seven classes; the labels are first, second, sixth and seventh of the answers.
    logits = torch.arange(7.0, 0, -1).repeat(4, 1)
    teacher = torch.eye(7)[[0, 0, 5, 5]]
    figures = measure("student", logits, torch.tensor([0, 1, 5, 6]), teacher, 1000.0)
    assert (figures.top1, figures.top5, figures.agreement, figures.teacher_top1) == (0.25, 0.5, 0.5, 0.5)
    confidence = float(logits.softmax(1).max())
    assert figures.ece == pytest.approx(confidence - 0.25, abs=1e-6)
    assert figures.ece_calibrated == pytest.approx(0.25 - 1 / 7, abs=1e-2)


def test_without_teacher_and_temperature_their_figures_are_left_out() -> None:
    figures = measure("student", torch.eye(3), torch.arange(3), None, None)
    assert (figures.top1, figures.top5) == (1.0, 1.0)
    assert figures.agreement is figures.teacher_top1 is figures.temperature is figures.ece_calibrated is None
    console = Console(file=io.StringIO(), width=80)
    console.print(draw(figures))
    assert "no temperature" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_class_that_the_model_does_not_have_is_said() -> None:
    with pytest.raises(CommandError, match="A photo is of class 5 and the model has 3 classes"):
        measure("student", torch.eye(3), torch.tensor([0, 1, 5]), None, None)


def test_the_stand_in_is_right_and_agrees_with_itself(labelled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate.evaluate("efficientnet_lite0", labelled, teacher="efficientnet_lite0")
    output = capsys.readouterr()
    figures = json.loads(output.out)
    assert figures["photos"] == 3
    assert figures["top5"] == 1.0
    assert figures["top1"] >= 2 / 3
    assert figures["agreement"] == 1.0
    assert figures["teacher_top1"] == figures["top1"]
    assert "1 damaged photo(s)" in output.err


def test_figures_are_recorded_and_a_poor_student_is_warned_of(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "student.safetensors"
    torch.manual_seed(0)
    export(path, student.build(1000).state_dict(), FACTS)
    evaluate.evaluate(str(path), labelled, teacher="none", record=True)
    output = capsys.readouterr()
    figures = json.loads(output.out)
    found = from_path(path).card
    assert found.accuracy == Accuracy(figures["top1"], figures["top5"], f"{labelled.name}, 3 photos")
    assert found.temperature == 2.0
    assert figures["ece_calibrated"] is not None
    assert "Its top-1 is under 30%" in output.err
    assert path.with_suffix(".md").exists()


def test_a_foreign_checkpoint_gets_no_figures(labelled: Path, seeded_checkpoint: Path) -> None:
    with pytest.raises(CommandError, match=r"was not written by training\.finish"):
        evaluate.evaluate(str(seeded_checkpoint), labelled, teacher="none", record=True)


def test_photos_that_cannot_be_read_end_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "0000.jpg").write_bytes(b"\xff\xd8 damaged")
    with pytest.raises(CommandError, match=r"No photo in .* can be read"):
        evaluate.evaluate("efficientnet_lite0", tmp_path, teacher="none")
