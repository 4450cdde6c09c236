"""A multi-label model, whose classes may be true together, and a model whose answer is no number."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from handler import classifier
from handler.answers import encode as to_json
from handler.card import ModelCard
from handler.classifier import ImageClassifier
from handler.engines import Outputs
from handler.errors import ArchiveError
from handler.labels import sigmoid
from handler.settings import Settings
from tests.colours import BLUE, GREEN, RED, THREE_CLASSES, ColourEngine
from tests.handler.inference_requests import EXPLAIN, Asker, infer, predict
from tests.pictures import encode
from tests.worker import FakeContext

YELLOW, BLACK = (encode(Image.new("RGB", (30, 20), colour), "PNG") for colour in ("yellow", "black"))


class SignedEngine(ColourEngine):
    """Its logit of a color is 5 where the picture is full of it, and -5 where it has none; black is NaN if asked."""

    def __init__(self, black: float = -5) -> None:
        super().__init__()
        self.black = black

    def _infer(self, batch: NDArray[np.uint8], *, features: bool) -> Outputs:
        logits, maps = super()._infer(batch, features=features)
        dark = logits.max(axis=1, keepdims=True) == 0
        return np.where(dark, np.float32(self.black), logits - 5), maps


def handler_of(engine: ColourEngine, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ImageClassifier:
    monkeypatch.setattr(classifier, "load_engine", lambda *_: engine)
    built = ImageClassifier()
    built.initialize(FakeContext(folder))
    return built


@pytest.fixture
def several(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Asker:
    replace(THREE_CLASSES, task="multi-label").write(folder)
    return Asker(handler_of(SignedEngine(), folder, monkeypatch), folder)


def asked(asker: Asker, *photos: bytes, **parameters: Any) -> list[Any]:
    return asker.own([{"body": photo} | {name: str(value) for name, value in parameters.items()} for photo in photos])


def names(answer: dict[str, Any]) -> list[str]:
    return [one["class_name"] for one in answer["predictions"]]


def test_all_classes_over_the_threshold_are_listed(several: Asker) -> None:
    red, yellow, black = asked(several, RED, YELLOW, BLACK)
    assert (red["class_name"], red["recognized"], names(red)) == ("red", True, ["red"])
    assert names(yellow) == ["red", "green"]
    assert all(
        one["probability"] == pytest.approx(float(sigmoid(np.array([[5.2]]))[0, 0])) for one in yellow["predictions"]
    )
    assert (black["class_id"], black["recognized"], black["predictions"]) == (None, False, [])
    assert black["probability"] == pytest.approx(0.0067, abs=1e-4)


def test_the_threshold_decides_and_top_k_does_not(several: Asker) -> None:
    assert names(asked(several, YELLOW, min_probability=0)[0]) == ["red", "green", "blue"]
    assert asked(several, YELLOW, min_probability=1)[0]["recognized"] is False
    assert names(asked(several, YELLOW, top_k=1)[0]) == ["red", "green"]
    assert names(asked(several, YELLOW, top_k=3)[0]) == ["red", "green"]


def test_v1_and_v2(several: Asker) -> None:
    first, second = several(predict(YELLOW, BLACK))["predictions"]
    assert (names(first), names(second)) == (["red", "green"], [])
    found = {one["name"]: (one["shape"], one["data"]) for one in several(infer(RED, YELLOW, BLACK))["outputs"]}
    assert found["class_name"] == ([3, 2], ["red", "", "red", "green", "", ""])
    assert found["class_id"] == ([3, 2], ["n0", "", "n0", "n1", "", ""])
    assert found["probability"][0] == [3, 2]
    assert found["probability"][1][1::4] == [0, 0]
    assert found["recognized"] == ([3], [True, True, False])


def test_an_explanation_has_the_classs_own_probability(several: Asker) -> None:
    [explained] = several.own([{"file": YELLOW, "class_id": b"n1"}], [EXPLAIN])
    assert (explained["class_name"], explained["recognized"]) == ("green", True)
    assert explained["probability"] > 0.99


@pytest.mark.parametrize("task", ["single-label", "multi-label"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_photo_whose_answer_is_no_number_gets_500_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, task: Any, value: float
) -> None:
    engine = SignedEngine()
    replace(THREE_CLASSES, task=task).write(folder)
    asker = Asker(handler_of(engine, folder, monkeypatch), folder)
    engine.black = value
    red, black, blue = asked(asker, RED, BLACK, BLUE)
    assert (red["class_name"], blue["class_name"]) == ("red", "blue")
    assert (black["code"], black["type"]) == (500, "InternalServerException")
    assert asker.statuses == [200, 500, 200]
    assert "NaN or infinite" in asker.refusal(predict(BLACK), 500)
    green, error = asker(predict(GREEN, BLACK))["predictions"]
    assert (green["class_name"], error["error"]["code"]) == ("green", 500)


def test_json_never_holds_nan() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json({"probability": float("nan")})


def test_sigmoid_does_not_overflow() -> None:
    found = sigmoid(np.array([[-1000, 0, 1000, np.log(3)]], np.float32))
    np.testing.assert_allclose(found, [[0, 0.5, 1, 0.75]], atol=1e-7)


@pytest.mark.parametrize("classes", [1, 14])
def test_the_threshold_of_several_labels(classes: int) -> None:
    assert Settings().threshold(classes, "multi-label") == 0.5
    assert Settings(min_probability=0.3).threshold(classes, "multi-label") == 0.3


def test_another_task_is_refused() -> None:
    with pytest.raises(ArchiveError, match="single-label or multi-label, not 'regression'"):
        ModelCard.from_dict(THREE_CLASSES.to_dict() | {"task": "regression"})
