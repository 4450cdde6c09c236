from __future__ import annotations

from typing import Any

import pytest

from web import wording

CAT = {"class_id": "n02124075", "class_name": "Egyptian_cat", "probability": 0.376259}
RECOGNIZED = CAT | {"recognized": True}
NOT_RECOGNIZED = {"class_id": None, "class_name": None, "probability": 0.04, "recognized": False}


def test_names_are_written_as_people_write_them() -> None:
    assert wording.readable("Egyptian_cat") == "Egyptian cat"


@pytest.mark.parametrize(("answer", "text"), [(RECOGNIZED, "Egyptian cat, 38%"), (NOT_RECOGNIZED, "Not sure")])
def test_a_caption_is_one_line(answer: dict[str, Any], text: str) -> None:
    assert wording.caption(answer) == text


def test_what_is_not_recognized_gets_no_name() -> None:
    assert "<h2>Egyptian cat</h2>" in wording.heading(RECOGNIZED)
    assert "<h2>Not sure</h2>" in wording.heading(NOT_RECOGNIZED)


def test_bars_keep_two_classes_of_one_name_apart() -> None:
    bird = {"class_id": "n02012849", "class_name": "crane", "probability": 0.5}
    machine = {"class_id": "n03126707", "class_name": "crane", "probability": 0.3}

    bars = wording.bars([bird, machine, CAT])

    assert list(bars.items()) == [("crane (n02012849)", bird), ("crane (n03126707)", machine), ("Egyptian cat", CAT)]


def test_names_of_classes_and_files_are_no_html() -> None:
    assert "<b>" not in wording.heading(RECOGNIZED | {"class_name": "<b>"})
    assert "<b>" not in wording.heatmap("", "", "<b>")
    assert "<b>" not in wording.problem({"message": "<b>"}, "<b>.jpg")


def test_a_problem_names_the_file_that_has_it() -> None:
    assert "cut.jpg: This image is damaged." in wording.problem({"message": "This image is damaged."}, "cut.jpg")
