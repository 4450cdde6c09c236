from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from handler.classifier import ImageClassifier
from handler.explanations import HEAD_FILE
from tests.colours import BAD, BLUE, GREEN, RED, THREE_CLASSES, ColourEngine
from tests.handler.inference_requests import EXPLAIN, OWN_ADDRESS, Asker, names
from tests.pictures import encode
from tests.worker import FakeContext


def test_a_batch_mixes_predictions_and_explanations(ask: Asker, engine: ColourEngine) -> None:
    unsure = EXPLAIN | {"Min-Probability": "1"}
    rows = [{"body": RED}, {"body": GREEN}, {"body": BAD}, {"body": BLUE}, {"a": RED, "b": BAD, "c": BLUE}]
    answers = ask.own(rows, [OWN_ADDRESS, EXPLAIN, EXPLAIN, unsure, EXPLAIN])
    assert names(answers) == ["red", "green", 400, "blue", ["red", 400, "blue"]]
    assert ["overlay" in answer for answer in answers[:4]] == [False, True, False, True]
    assert (answers[1]["recognized"], answers[3]["recognized"]) == (True, False)
    assert ask.statuses == [200, 200, 400, 200, 200]
    assert [shape[0] for shape in engine.shapes] == [5]


@pytest.mark.parametrize(("class_id", "lit"), [("n0", slice(0, 90)), ("n2", slice(134, 224))])
def test_the_overlay_lights_where_the_class_is(ask: Asker, class_id: str, lit: slice) -> None:
    halves = Image.new("RGB", (256, 256), "blue")
    halves.paste("red", (0, 0, 128, 256))
    [answer] = ask.own([{"body": encode(halves, "PNG")}], [EXPLAIN | {"Class-Id": class_id, "Overlay": "1"}])
    assert answer["class_id"] == class_id
    with Image.open(io.BytesIO(base64.b64decode(answer["overlay"])), formats=["PNG"]) as image:
        painted = np.asarray(image)
    assert painted[:, lit].mean() > 150
    assert painted.mean() < 0.7 * painted[:, lit].mean()


@pytest.mark.parametrize("chosen", [{}, {"Class-Id": "n2"}])
def test_one_answer_has_the_prediction_and_a_map_of_every_class(ask: Asker, chosen: dict[str, str]) -> None:
    two = {"Top-K": "2"}
    explained, predicted = ask.own([{"body": RED}] * 2, [EXPLAIN | two | chosen, OWN_ADDRESS | two])
    picture, maps = explained.pop("overlay"), explained.pop("maps")
    listed = [prediction["class_id"] for prediction in predicted["predictions"]]
    assert explained["predictions"] == predicted["predictions"]
    assert set(maps) == {explained["class_id"], *listed}
    assert chosen or explained == predicted
    for rows in maps.values():
        assert np.shape(rows) == np.shape(maps[listed[0]])
        assert 0 <= np.min(rows) <= np.max(rows) <= 1
    assert picture


def test_a_png_is_the_picture_itself(ask: Asker) -> None:
    [body] = ask.batch([{"body": RED}], [EXPLAIN | {"accept": "text/html, image/png"}])
    assert Image.open(io.BytesIO(body)).size == (224, 224)
    assert ask.context.content_types[0] == "image/png"


@pytest.mark.parametrize(
    ("row", "headers", "facts"),
    [
        ({"a": RED, "b": BLUE}, {"Accept": "image/png"}, "several"),
        ({"a": BAD}, {"Accept": "image/png"}, "decoded"),
        ({"a": RED}, {"Class-Id": "n999"}, "'n999'"),
        ({"a": RED, "class_id": b"n998"}, {}, "'n998'"),
        ({"a": RED}, {"Overlay": "1.5"}, "overlay must be a number from 0 to 1; it is '1.5'"),
        ({"a": RED, "overlay": b"nan"}, {}, "overlay"),
        ({}, {}, "no image"),
    ],
)
def test_what_cannot_be_explained(ask: Asker, row: dict[str, Any], headers: dict[str, str], facts: str) -> None:
    [answer] = ask.own([row], [EXPLAIN | headers])
    assert ask.statuses == [answer["code"]] == [400]
    assert facts in answer["message"]


def test_a_head_with_hidden_layers_gives_predictions_and_no_heatmaps(folder: Path, engine: ColourEngine) -> None:
    (folder / HEAD_FILE).unlink()
    replace(THREE_CLASSES, heatmaps=False).write(folder)
    handler = ImageClassifier()
    handler.initialize(FakeContext(folder))
    engine.shapes.clear()
    explained, predicted = Asker(handler, folder).own([{"body": RED}] * 2, [EXPLAIN, OWN_ADDRESS])
    assert names([explained, predicted]) == [400, "red"]
    assert "hidden layers" in explained["message"]
    assert [shape[0] for shape in engine.shapes] == [1]
