from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from densenet_serving import paths
from densenet_serving.build.weights import from_path
from densenet_serving.errors import CommandError
from handler.card import Accuracy
from tests.pictures import encode, photo
from training import card, evaluate, student
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


def test_the_stand_in_is_right_and_agrees_with_itself(labelled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate.evaluate("efficientnet_lite0", labelled, teacher="efficientnet_lite0")
    output = capsys.readouterr()
    figures = json.loads(output.out)
    assert (figures["photos"], figures["top5"], figures["agreement"]) == (3, 1.0, 1.0)
    assert figures["teacher_top1"] == figures["top1"] >= 2 / 3
    assert "1 damaged photo(s)" in output.err


def test_figures_are_recorded_and_a_poor_student_is_warned_of(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "student.safetensors"
    torch.manual_seed(0)
    export(path, student.build(1000).state_dict(), FACTS)
    assert path.stat().st_size < 2**24  # a whole DenseNet fits the size that is asked for
    evaluate.evaluate(str(path), labelled, teacher="none", record=True)
    output = capsys.readouterr()
    figures = json.loads(output.out)
    found = from_path(path).card
    assert found.accuracy == Accuracy(figures["top1"], figures["top5"], f"{labelled.name}, 3 photos")
    assert found.temperature == 2.0
    assert figures["ece_calibrated"] is not None
    assert "30%" in output.err
    assert path.with_suffix(".md").exists()


def test_a_foreign_checkpoint_gets_no_figures(labelled: Path, seeded_checkpoint: Path) -> None:
    with pytest.raises(CommandError, match=r"training\.finish"):
        evaluate.evaluate(str(seeded_checkpoint), labelled, teacher="none", record=True)
