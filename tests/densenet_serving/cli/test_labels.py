from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import pytest
import typer

from densenet_serving import paths
from densenet_serving.cli import labels
from densenet_serving.errors import CommandError
from handler.labels import Labels


def test_the_committed_file_is_what_the_package_gives(tmp_path: Path) -> None:
    labels.labels(tmp_path / "labels.json")
    assert (tmp_path / "labels.json").read_bytes() == paths.LABELS.read_bytes()


def test_the_classes_of_imagenet() -> None:
    table = json.loads(paths.LABELS.read_text())
    assert list(table) == [str(index) for index in range(1000)]
    assert table["0"] == ["n01440764", "tench"]
    assert table["285"] == ["n02124075", "Egyptian_cat"]
    assert table["999"] == ["n15075141", "toilet_tissue"]
    assert len({class_id for class_id, _ in table.values()}) == 1000
    read = Labels.read(paths.LABELS)
    assert read[134][1] == read[517][1] == "crane"
    assert read[638][1] == read[639][1] == "maillot"


@pytest.mark.parametrize(("terminal", "answer"), [(False, False), (True, False), (True, True)])
def test_a_file_of_other_labels_is_kept_unless_a_person_agrees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: bool, answer: bool
) -> None:
    path = tmp_path / "labels.json"
    path.write_text("mine")
    monkeypatch.setattr("sys.stdin.isatty", lambda: terminal)
    monkeypatch.setattr(typer, "confirm", lambda *_, **__: answer)
    with nullcontext() if answer else pytest.raises(CommandError, match="was kept"):
        labels.labels(path)
    assert (path.read_text() == "mine") != answer
    labels.labels(path, yes=True)
    labels.labels(path)  # the same again needs no question
    assert path.read_bytes() == paths.LABELS.read_bytes()
