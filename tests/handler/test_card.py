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


WEIGHTS = replace(CARD.weights, training="on photos", accuracy=Accuracy(0.4, 0.65, "eval.tar"), temperature=1.2)
INT8 = replace(CARD, quantization={"precision": "int8", "layers": 50})


@pytest.mark.parametrize("card", [CARD, replace(CARD, weights=WEIGHTS), INT8])
def test_a_card_survives_the_archive(tmp_path: Path, card: ModelCard) -> None:
    card.write(tmp_path)
    assert ModelCard.read(tmp_path) == card


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in CARD.to_dict().items() if name not in names}


DAMAGED = [
    *("", "{", "[]", "3"),
    json.dumps(without("classes")),
    *(
        json.dumps(CARD.to_dict() | change)
        for change in (
            {"weights": {"source": "a"}},
            {"weights": None},
            {"weights": CARD.weights.__dict__ | {"accuracy": {"top1": 1}}},
            {"preprocessing": {"resize": 255}},
            {"preprocessing": None},
            {"preprocessing": "bilinear"},
            {"preprocessing": PREPROCESSING.__dict__ | {"mean": 0.5}},
            {"preprocessing": PREPROCESSING.__dict__ | {"crop": "224"}},
            {"surprise": 1},
        )
    ),
]


@pytest.mark.parametrize("text", DAMAGED)
def test_a_card_that_does_not_fit(tmp_path: Path, text: str) -> None:
    with pytest.raises(ArchiveError, match="rebuild the archive"):
        read(tmp_path, text)


THREE = {"source": "a file", "sha256": "ab" * 32, "license": "BSD-3-Clause"}  # fields that weights once had


@pytest.mark.parametrize(
    "fields",
    [without("quantization"), without("heatmaps"), without("task")]
    + [CARD.to_dict() | {"weights": weights} for weights in (THREE, THREE | {"limits": "a field to come"})],
)
def test_a_card_of_another_release_is_read(tmp_path: Path, fields: dict[str, Any]) -> None:
    assert read(tmp_path, json.dumps(fields)) == CARD


@pytest.mark.parametrize(
    "change",
    [{"crop": 256}, {"crop": 0}, {"crop": -1}, {"resize": 0}, {"interpolation": "lanczos"}, {"std": (0.2, 0, 0.2)}],
)
def test_preprocessing_refuses_what_cannot_be(change: dict[str, Any]) -> None:
    with pytest.raises(ArchiveError, match=r"must be"):
        replace(PREPROCESSING, **change)
