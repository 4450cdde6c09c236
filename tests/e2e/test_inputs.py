"""Every way to send an image, and every kind of image, to the real server: a pretrained model names what they show."""

from __future__ import annotations

import base64
import gzip
from typing import Any

import numpy as np
import pytest
from PIL import Image

from densenet_serving import paths
from densenet_serving.options import MODEL, STAND_IN
from tests.e2e.support import Inference, content_of
from tests.pictures import FITTING, SAMPLE_NAME, encode, photo

FIELDS = {"class_id", "class_name", "probability", "recognized"}
CAT = photo("chelsea")
SENT = encode(CAT, quality=95)
GREY = CAT.convert("L")
SMALL = CAT.resize((225, 150))
FRAMES = [Image.new("RGB", (225, 150), (i % 256, 100 * (i // 256), 0)) for i in range(499)]


def instances(*images: bytes) -> dict[str, Any]:
    return {"json": {"instances": [{"b64": base64.b64encode(image).decode()} for image in images]}}


def of_type(content_type: str, body: bytes = SENT) -> dict[str, Any]:
    return {"body": body, "headers": {"Content-Type": content_type}}


REQUESTS: dict[str, dict[str, Any]] = {
    "a body": {"body": SENT},
    "a PUT": {"body": SENT, "method": "PUT"},
    "a body of its type": of_type("image/jpeg"),
    "a body of bytes": of_type("application/octet-stream"),
    "a body of another type": of_type("IMAGE/PNG"),
    "base64": of_type("text/plain", base64.urlsafe_b64encode(SENT).rstrip(b"=")),
    "a compressed body": {"body": gzip.compress(SENT), "headers": {"Content-Encoding": "gzip"}},
    "the field file": {"files": {"file": SENT}},
    "the field data": {"files": {"data": SENT}},
    "the field body": {"files": {"body": SENT}},
    "a field of any name": {"files": {"chaton-é": SENT}},
    "a field with its type": {"files": {"file": ("cat.jpg", SENT, "image/jpeg")}},
    "a field without a file name": {"files": {"csrf_token": (None, b"abc123"), "photo": (None, SENT)}},
    "a field of base64": {"files": {"csrf_token": (None, b"abc123"), "photo": (None, base64.b64encode(SENT))}},
    "JSON": instances(SENT),
    "JSON with a charset": instances(SENT) | {"headers": {"Content-Type": "Application/JSON; charset=utf-8"}},
    "the model's version": {"body": SENT, "path": f"/predictions/{STAND_IN}/1.0"},
    "the model's invoke": of_type("image/jpeg") | {"path": f"/models/{STAND_IN}/invoke"},
}
# Beside a photo.
OTHERS: dict[str, tuple[str, tuple[str | None, bytes, str]]] = {
    "a hidden field": ("csrf_token", (None, b"abc123", "text/plain")),
    "a named button": ("submit", (None, b"Upload", "text/plain")),
    "an input left empty": ("second", ("", b"", "application/octet-stream")),
}
IMAGES: dict[str, bytes] = {
    **{name: encode(CAT, name) for name in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")},
    "a progressive JPEG": encode(CAT, progressive=True),
    "an MPO": encode(CAT, "MPO", save_all=True, append_images=[CAT]),
    "an animation of 500 frames": encode(SMALL, "GIF", save_all=True, append_images=FRAMES),
    "CMYK": encode(CAT.convert("CMYK")),
    "grey with alpha": encode(CAT.convert("LA"), "PNG"),
    "a palette": encode(CAT.convert("P"), "PNG"),
    "grey of 16 bits": encode(Image.fromarray(np.asarray(GREY).astype(np.uint16) * 257), "PNG"),
    "grey of floats": encode(GREY.convert("F"), "TIFF"),
}


def is_a_cat(answer: Any) -> bool:
    return set(answer) == FIELDS and answer["recognized"] is True and answer["class_name"] in FITTING["chelsea"]


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_every_way_to_send_a_photo(inference: Inference, request_: dict[str, Any]) -> None:
    assert is_a_cat(content_of(inference(**request_)))


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_what_else_a_form_has_is_no_photo(inference: Inference, other: Any) -> None:
    part = ("file", ("cat.jpg", SENT, "image/jpeg"))
    for parts in ([part, other], [other, part]):
        assert is_a_cat(content_of(inference(files=parts)))


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
def test_every_kind_of_image(inference: Inference, image: bytes) -> None:
    assert is_a_cat(content_of(inference(image)))


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (7000, 7000)])
def test_every_size_and_shape(inference: Inference, size: tuple[int, int]) -> None:
    assert set(content_of(inference(encode(Image.new("L", size, 128), "PNG")))) == FIELDS


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [(3, Image.Transpose.ROTATE_180), (6, Image.Transpose.ROTATE_90), (8, Image.Transpose.ROTATE_270)],
)
def test_a_photo_of_a_turned_camera_is_turned_back(
    inference: Inference, orientation: int, stored: Image.Transpose
) -> None:
    upright = photo("coffee")
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = encode(upright.transpose(stored), "PNG", exif=exif)
    assert content_of(inference(turned)) == content_of(inference(encode(upright, "PNG")))


def test_several_images_are_answered_in_the_order_sent(inference: Inference, photos: dict[str, bytes]) -> None:
    """A real model names each as it should. Field names are in no alphabetical order: what counts is the form's."""
    files = {str(number * 7 % 10): image for number, image in enumerate(photos.values(), 1)}
    for sent in ({"files": files}, instances(*photos.values())):
        answers = content_of(inference(**sent, headers={"Min-Probability": "0"}))
        assert [answer["class_name"] in FITTING[name] for answer, name in zip(answers, photos, strict=True)] == [
            True
        ] * 7


def test_the_sample_photo_gets_its_name(inference: Inference) -> None:
    assert content_of(inference(paths.SAMPLE_PHOTO.read_bytes()))["class_name"] == SAMPLE_NAME


def test_densenet_answers_under_its_own_name_and_version(inference: Inference) -> None:
    unversioned = content_of(inference(SENT, path=f"/predictions/{MODEL}"))
    assert set(unversioned) == FIELDS
    assert content_of(inference(SENT, path=f"/predictions/{MODEL}/1.0")) == unversioned
