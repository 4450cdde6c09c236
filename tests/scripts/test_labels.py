from __future__ import annotations

import json
from pathlib import Path

from handler.labels import Labels
from scripts import labels, paths


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


def test_names_that_stand_for_two_classes() -> None:
    read = Labels.read(paths.LABELS)
    assert read[134][1] == read[517][1] == "crane"
    assert read[638][1] == read[639][1] == "maillot"
