from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from handler.classifier import ImageClassifier
from handler.explanations import HEAD_FILE
from tests.colours import BAD, BLUE, GREEN, RED, THREE_CLASSES, ColourEngine
from tests.pictures import encode
from tests.worker import FakeContext

EXPLAIN = {"explain": "True", "url_path": ""}
PREDICT = {"explain": "False", "url_path": ""}


def ask(
    handler: ImageClassifier, folder: Path, *rows: tuple[dict[str, Any], dict[str, Any]]
) -> tuple[Any, FakeContext]:
    context = FakeContext(folder, [headers for _, headers in rows])
    return handler.handle([row for row, _ in rows], context), context


def overlay_of(answer: dict[str, Any]) -> np.ndarray[Any, Any]:
    image = Image.open(io.BytesIO(base64.b64decode(answer["overlay"])))
    assert image.format == "PNG"
    return np.asarray(image)


def test_a_batch_mixes_predictions_and_explanations(
    handler: ImageClassifier, folder: Path, engine: ColourEngine
) -> None:
    rows = [({"body": RED}, PREDICT), ({"body": GREEN}, EXPLAIN), ({"body": BAD}, EXPLAIN), ({"body": BLUE}, PREDICT)]
    bodies, context = ask(handler, folder, *rows)
    red, green, bad, blue = map(json.loads, bodies)
    assert [red["class_name"], green["class_name"], blue["class_name"]] == ["red", "green", "blue"]
    assert "overlay" in green
    assert "overlay" not in red
    assert bad["code"] == 400
    assert context.statuses == {0: 200, 1: 200, 2: 400, 3: 200}
    assert [shape[0] for shape in engine.shapes] == [3]


def test_the_overlay_lights_where_the_class_is(handler: ImageClassifier, folder: Path) -> None:
    halves = Image.new("RGB", (256, 256), "blue")
    halves.paste("red", (0, 0, 128, 256))
    body = encode(halves, "PNG")
    for class_id, lit in (("n0", slice(0, 90)), ("n2", slice(134, 224))):
        (answer,), _ = ask(handler, folder, ({"body": body}, EXPLAIN | {"Class-Id": class_id, "Overlay": "1"}))
        content = json.loads(answer)
        assert content["class_id"] == class_id
        painted = overlay_of(content)
        assert painted[:, lit].mean() > 150
        assert painted.mean() < 0.7 * painted[:, lit].mean()


@pytest.mark.parametrize("class_id", [None, "n2"])
def test_one_answer_has_the_prediction_and_a_map_of_every_class(
    handler: ImageClassifier, folder: Path, class_id: str | None
) -> None:
    chosen = {} if class_id is None else {"Class-Id": class_id}
    rows = [({"body": RED}, EXPLAIN | {"Top-K": "2"} | chosen), ({"body": RED}, PREDICT | {"Top-K": "2"})]
    bodies, _ = ask(handler, folder, *rows)
    explained, predicted = map(json.loads, bodies)
    picture, maps = explained.pop("overlay"), explained.pop("maps")
    listed = [prediction["class_id"] for prediction in predicted["predictions"]]
    assert explained["predictions"] == predicted["predictions"]
    assert set(maps) == {explained["class_id"], *listed}
    if class_id is None:
        assert explained == predicted
    for rows in maps.values():
        assert np.shape(rows) == np.shape(maps[listed[0]])
        assert 0 <= np.min(rows) <= np.max(rows) <= 1
    assert picture


def test_a_png_is_the_picture_itself(handler: ImageClassifier, folder: Path) -> None:
    (body,), context = ask(handler, folder, ({"body": RED}, EXPLAIN | {"accept": "text/html, image/png"}))
    assert Image.open(io.BytesIO(body)).size == (224, 224)
    assert context.content_types[0] == "image/png"


@pytest.mark.parametrize(
    ("row", "headers", "message"),
    [
        ({"a": RED, "b": BLUE}, {"Accept": "image/png"}, "several"),
        ({"a": RED}, {"Class-Id": "n999"}, "no class 'n999'"),
        ({"a": RED, "class_id": b"n998"}, {}, "no class 'n998'"),
        ({"a": RED}, {"Overlay": "1.5"}, "overlay must be a number from 0 to 1; it is '1.5'"),
        ({"a": RED, "overlay": b"nan"}, {}, "overlay must be a number"),
        ({}, {}, "no image"),
    ],
)
def test_what_makes_no_sense_is_refused(
    handler: ImageClassifier, folder: Path, row: dict[str, Any], headers: dict[str, str], message: str
) -> None:
    (body,), context = ask(handler, folder, (row, EXPLAIN | headers))
    assert context.statuses[0] == 400
    assert context.content_types[0] == "application/json"
    assert message in json.loads(body)["message"]


def test_a_bad_image_gets_json_even_where_a_picture_was_asked_for(handler: ImageClassifier, folder: Path) -> None:
    (body,), context = ask(handler, folder, ({"body": BAD}, EXPLAIN | {"Accept": "image/png"}))
    assert context.statuses[0] == 400
    assert context.content_types[0] == "application/json"
    assert json.loads(body)["code"] == 400


def test_an_image_that_is_not_recognized_is_explained_all_the_same(handler: ImageClassifier, folder: Path) -> None:
    (body,), _ = ask(handler, folder, ({"body": RED}, EXPLAIN | {"Min-Probability": "1"}))
    answer = json.loads(body)
    assert (answer["class_name"], answer["recognized"]) == ("red", False)


def test_a_head_with_hidden_layers_gives_predictions_and_no_heatmaps(folder: Path, engine: ColourEngine) -> None:
    (folder / HEAD_FILE).unlink()
    replace(THREE_CLASSES, heatmaps=False).write(folder)
    handler = ImageClassifier()
    handler.initialize(FakeContext(folder))
    engine.shapes.clear()
    (explained, predicted), context = ask(handler, folder, ({"body": RED}, EXPLAIN), ({"body": RED}, PREDICT))
    assert context.statuses == {0: 400, 1: 200}
    assert "no heatmaps because its head has hidden layers" in json.loads(explained)["message"]
    assert json.loads(predicted)["class_name"] == "red"
    assert [shape[0] for shape in engine.shapes] == [1]


def test_several_images_give_a_list(handler: ImageClassifier, folder: Path) -> None:
    (body,), _ = ask(handler, folder, ({"a": RED, "b": BAD, "c": BLUE}, EXPLAIN))
    red, bad, blue = json.loads(body)
    assert (red["class_name"], blue["class_name"]) == ("red", "blue")
    assert bad["error"]["code"] == 400
