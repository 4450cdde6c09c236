"""POST /explanations: the prediction and what it rests on."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from densenet_serving.options import MODEL, STAND_IN
from densenet_serving.server.torchserve import Server
from tests.e2e.support import Inference, assert_refused, command_here, content_of, succeed
from tests.errors import check_error
from tests.pictures import FITTING, encode, noise

PATH = f"/explanations/{STAND_IN}"
JPEG = {"Content-Type": "image/jpeg"}
FIELDS = {"class_id", "class_name", "probability", "recognized", "overlay", "maps"}


def picture(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    assert (image.format, image.size) == ("PNG", (224, 224))
    return image


def test_the_answer_is_the_prediction_and_an_overlay(inference: Inference, photos: dict[str, bytes]) -> None:
    answer = content_of(inference(photos["chelsea"], path=PATH, headers=JPEG))
    assert set(answer) == FIELDS
    assert answer["class_name"] in FITTING["chelsea"]
    predicted = content_of(inference(photos["chelsea"], headers=JPEG))
    assert {name: answer[name] for name in predicted} == pytest.approx(predicted, abs=0.02)
    picture(base64.b64decode(answer["overlay"]))


def test_accept_png_gives_the_picture_itself(inference: Inference, photos: dict[str, bytes]) -> None:
    pictures = []
    for overlay in ("0", "1"):
        response = inference(photos["chelsea"], path=PATH, headers=JPEG | {"Accept": "image/png", "Overlay": overlay})
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "image/png"
        pictures.append(np.asarray(picture(response.content), np.float32))
    image, colours = pictures
    assert np.abs(image - colours).mean() > 20


def test_a_class_can_be_chosen(inference: Inference, photos: dict[str, bytes]) -> None:
    answer = content_of(inference(photos["coffee"], path=PATH, headers=JPEG | {"Class-Id": "n07920052"}))
    assert (answer["class_id"], answer["class_name"]) == ("n07920052", "espresso")


def test_several_images_and_a_bad_one(inference: Inference, photos: dict[str, bytes]) -> None:
    files = {"a": photos["chelsea"], "b": b"no photo", "c": photos["coffee"]}
    cat, bad, cup = content_of(inference(path=PATH, files=files))
    assert cat["class_name"] in FITTING["chelsea"]
    check_error(bad["error"], 415)
    assert cup["class_name"] in FITTING["coffee"]


@pytest.mark.parametrize(
    ("sent", "status", "named"),
    [
        ({"body": encode(noise()), "headers": JPEG | {"Class-Id": "n0"}}, 400, "n0"),
        ({"body": b"no photo", "headers": JPEG | {"Accept": "image/png"}}, 415, ""),  # JSON, where a picture is wanted
        ({"files": {"a": b"x", "b": b"y"}, "headers": {"Accept": "image/png"}}, 400, "several"),
    ],
)
def test_what_cannot_be_explained(inference: Inference, sent: dict[str, Any], status: int, named: str) -> None:
    response = inference(path=PATH, **sent)
    assert response.status_code == status
    check_error(response.json(), status, named)


def test_densenet_explains_too(inference: Inference, photos: dict[str, bytes]) -> None:
    """Its weights are random here: only the form can be right."""
    answer = content_of(inference(photos["chelsea"], path=f"/explanations/{MODEL}", headers=JPEG))
    assert set(answer) == FIELDS
    picture(base64.b64decode(answer["overlay"]))


def test_the_command_writes_the_picture(running: Server, photos: dict[str, bytes], tmp_path: Path) -> None:
    photo, heat, none = (tmp_path / name for name in ("cat.jpg", "heat.png", "none.png"))
    photo.write_bytes(photos["chelsea"])
    arguments = ("--model", STAND_IN, "--run-dir", running.endpoint.folder)
    succeed(command_here("explain", photo, "-o", heat, *arguments))
    picture(heat.read_bytes())
    assert_refused(command_here("explain", photo, "-o", none, "--class-id", "nothing", *arguments), "nothing")
    assert not none.exists()
