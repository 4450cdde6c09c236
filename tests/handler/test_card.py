from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from handler.card import CARD_FILE, Accuracy, ModelCard, Preprocessing, Weights
from handler.errors import ArchiveError

PREPROCESSING = Preprocessing(255, 224, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CARD = ModelCard(
    name="densenet121",
    version="1.0",
    architecture="DenseNet-121",
    classes=1000,
    weights=Weights("a file", "ab" * 32, "BSD-3-Clause"),
    preprocessing=PREPROCESSING,
    built_with={"torch": "2"},
)


def read(folder: Path, text: str) -> ModelCard:
    (folder / CARD_FILE).write_text(text)
    return ModelCard.read(folder)


def test_a_card_survives_the_archive(tmp_path: Path) -> None:
    CARD.write(tmp_path)
    assert ModelCard.read(tmp_path) == CARD


@pytest.mark.parametrize(
    "change",
    [
        {"weights": {"source": "a"}},
        {"weights": None},
        {"weights": CARD.weights.__dict__ | {"accuracy": {"top1": 1}}},
        {"preprocessing": {"resize": 255}},
        {"preprocessing": None},
        {"preprocessing": "bilinear"},
        {"preprocessing": PREPROCESSING.__dict__ | {"mean": 0.5}},
        {"preprocessing": PREPROCESSING.__dict__ | {"crop": "224"}},
        {"surprise": 1},
    ],
)
def test_a_card_that_does_not_fit(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(ArchiveError, match=r"does not fit this handler .* rebuild the archive"):
        read(tmp_path, json.dumps(CARD.to_dict() | change))


def test_a_card_with_accuracy_survives_the_archive(tmp_path: Path) -> None:
    weights = replace(CARD.weights, training="on photos", accuracy=Accuracy(0.4, 0.65, "eval.tar"), temperature=1.2)
    card = replace(CARD, weights=weights)
    card.write(tmp_path)
    assert ModelCard.read(tmp_path) == card


def test_a_card_of_int8_survives_the_archive_and_one_from_before_is_read(tmp_path: Path) -> None:
    card = replace(CARD, quantization={"precision": "int8", "layers": 50})
    card.write(tmp_path)
    assert ModelCard.read(tmp_path) == card
    fields = CARD.to_dict()
    del fields["quantization"]
    assert read(tmp_path, json.dumps(fields)) == CARD


def test_a_card_from_before_there_was_accuracy_or_after(tmp_path: Path) -> None:
    """Its weights had three fields, and may have more one day."""
    weights = {"source": "a file", "sha256": "ab" * 32, "license": "BSD-3-Clause"}
    for fields in (weights, weights | {"limits": "cats only"}):
        assert read(tmp_path, json.dumps(CARD.to_dict() | {"weights": fields})) == CARD


def test_a_card_from_before_there_were_heads_without_heatmaps(tmp_path: Path) -> None:
    fields = CARD.to_dict()
    del fields["heatmaps"]
    assert read(tmp_path, json.dumps(fields)) == CARD


def test_a_card_that_lacks_a_field(tmp_path: Path) -> None:
    fields = CARD.to_dict()
    del fields["classes"]
    with pytest.raises(ArchiveError, match="classes"):
        read(tmp_path, json.dumps(fields))


@pytest.mark.parametrize("text", ["", "{", "[]", "3"])
def test_a_damaged_card(tmp_path: Path, text: str) -> None:
    with pytest.raises(ArchiveError, match="rebuild the archive"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    "change",
    [{"crop": 256}, {"crop": 0}, {"crop": -1}, {"resize": 0}, {"interpolation": "lanczos"}, {"std": (0.2, 0, 0.2)}],
)
def test_preprocessing_refuses_what_cannot_be(change: dict[str, Any]) -> None:
    with pytest.raises(ArchiveError, match=r"must be"):
        replace(PREPROCESSING, **change)
