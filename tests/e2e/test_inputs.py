"""Every way to send an image, and every kind of image, to the real server."""

from __future__ import annotations

import base64
import gzip
from typing import Any

import numpy as np
import pytest
from PIL import Image

from densenet_serving.options import MODEL, STAND_IN
from tests.e2e.support import Inference, content_of
from tests.pictures import FITTING, encode, photo

FIELDS = {"class_id", "class_name", "probability", "recognized"}
CAT = FITTING["chelsea"]


def instance(image: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(image).decode()}


def is_a_cat(answer: Any) -> bool:
    return set(answer) == FIELDS and answer["recognized"] is True and answer["class_name"] in CAT


@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize("content_type", ["image/jpeg", "application/octet-stream", "IMAGE/PNG", None])
def test_the_body_is_the_image(inference: Inference, cat: bytes, method: str, content_type: str | None) -> None:
    headers = {"Content-Type": content_type} if content_type else {}

    assert is_a_cat(content_of(inference(cat, method=method, headers=headers)))


@pytest.mark.parametrize("field", ["file", "data", "body", "photo of my cat", "chaton-é"])
def test_a_form_field_of_any_name(inference: Inference, cat: bytes, field: str) -> None:
    assert is_a_cat(content_of(inference(files={field: cat})))


def test_a_form_field_with_file_name_and_type(inference: Inference, cat: bytes) -> None:
    assert is_a_cat(content_of(inference(files={"file": ("cat.jpg", cat, "image/jpeg")})))


FORMS: dict[str, list[tuple[str, tuple[str | None, bytes, str]]]] = {
    "a hidden field": [("csrf_token", (None, b"abc123", "text/plain"))],
    "a named button": [("submit", (None, b"Upload", "text/plain"))],
    "an input left empty": [("second", ("", b"", "application/octet-stream"))],
}


@pytest.mark.parametrize("others", FORMS.values(), ids=FORMS)
def test_what_else_a_form_has_is_no_photo(inference: Inference, cat: bytes, others: Any) -> None:
    part = ("file", ("cat.jpg", cat, "image/jpeg"))
    for parts in ([part, *others], [*others, part]):
        assert is_a_cat(content_of(inference(files=parts)))


def test_a_photo_without_a_file_name_is_still_one(inference: Inference, cat: bytes) -> None:
    for content in (cat, base64.b64encode(cat)):
        parts = {"csrf_token": (None, b"abc123"), "photo": (None, content)}
        assert is_a_cat(content_of(inference(files=parts)))


def test_base64_and_a_compressed_body(inference: Inference, cat: bytes) -> None:
    text = base64.urlsafe_b64encode(cat).rstrip(b"=")
    assert is_a_cat(content_of(inference(text, headers={"Content-Type": "text/plain"})))
    assert is_a_cat(content_of(inference(gzip.compress(cat), headers={"Content-Encoding": "gzip"})))


def test_several_files_are_answered_in_the_order_sent(inference: Inference, photos: dict[str, bytes]) -> None:
    # Field names in no alphabetical order: what counts is the order of the form.
    sent = {"z": "rocket", "b": "chelsea", "y": "camera", "a": "coffee"}

    answers = content_of(inference(files={field: photos[name] for field, name in sent.items()}))

    fits = [answer["class_name"] in FITTING[name] for answer, name in zip(answers, sent.values(), strict=True)]
    assert fits == [True] * 4


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_json_with_one_image(inference: Inference, cat: bytes, content_type: str) -> None:
    answer = content_of(inference(json={"instances": [instance(cat)]}, headers={"Content-Type": content_type}))

    assert is_a_cat(answer)


def test_json_with_several_images(inference: Inference, photos: dict[str, bytes]) -> None:
    names = list(photos)

    answers = content_of(inference(json={"instances": [instance(photos[name]) for name in names]}))

    assert [answer["class_name"] in FITTING[name] for answer, name in zip(answers, names, strict=True)] == [True] * 7


@pytest.mark.parametrize(
    "path",
    [f"/predictions/{STAND_IN}/1.0", f"/models/{STAND_IN}/invoke"],
)
def test_other_addresses_of_the_same_model(inference: Inference, cat: bytes, path: str) -> None:
    assert is_a_cat(content_of(inference(cat, path=path, headers={"Content-Type": "image/jpeg"})))


def test_densenet_answers_under_its_own_name_and_version(inference: Inference, cat: bytes) -> None:
    unversioned = content_of(inference(cat, path=f"/predictions/{MODEL}"))

    assert set(unversioned) == FIELDS
    assert content_of(inference(cat, path=f"/predictions/{MODEL}/1.0")) == unversioned


FORMATS: dict[str, dict[str, object]] = {
    "JPEG": {"quality": 95},
    "PNG": {},
    "WEBP": {},
    "GIF": {},
    "BMP": {},
    "TIFF": {},
    "AVIF": {},
}


@pytest.mark.parametrize("format_", FORMATS)
def test_every_accepted_format(inference: Inference, format_: str) -> None:
    assert is_a_cat(content_of(inference(encode(photo("chelsea"), format_, **FORMATS[format_]))))


def test_a_progressive_jpeg_and_one_of_two_pictures(inference: Inference) -> None:
    cat = photo("chelsea")

    assert is_a_cat(content_of(inference(encode(cat, progressive=True))))
    assert is_a_cat(content_of(inference(encode(cat, "MPO", save_all=True, append_images=[cat]))))


@pytest.mark.parametrize(
    ("mode", "format_"),
    [("CMYK", "JPEG"), ("L", "PNG"), ("LA", "PNG"), ("RGBA", "PNG"), ("P", "PNG"), ("L", "JPEG"), ("CMYK", "TIFF")],
)
def test_every_colour_mode(inference: Inference, mode: str, format_: str) -> None:
    assert is_a_cat(content_of(inference(encode(photo("chelsea").convert(mode), format_))))


@pytest.mark.parametrize(("mode", "format_"), [("I", "TIFF"), ("F", "TIFF")])
def test_grey_of_32_bits(inference: Inference, mode: str, format_: str) -> None:
    assert is_a_cat(content_of(inference(encode(photo("chelsea").convert("L").convert(mode), format_))))


def test_grey_of_16_bits(inference: Inference) -> None:
    pixels = np.asarray(photo("chelsea").convert("L")).astype(np.uint16) * 257

    assert is_a_cat(content_of(inference(encode(Image.fromarray(pixels), "PNG"))))


def test_black_and_white(inference: Inference) -> None:
    """Of a cat dithered to single bits little is left: that it is answered is all there is to ask."""
    answer = content_of(inference(encode(photo("chelsea").convert("1"), "PNG")))

    assert 0 < answer["probability"] < 1


def test_an_animation_of_500_frames_gives_its_first(inference: Inference) -> None:
    others = [Image.new("RGB", (225, 150), (i % 256, 100 * (i // 256), 0)) for i in range(499)]
    gif = encode(photo("chelsea").resize((225, 150)), "GIF", save_all=True, append_images=others)

    assert is_a_cat(content_of(inference(gif)))


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (7000, 7000)])
def test_every_size_and_shape(inference: Inference, size: tuple[int, int]) -> None:
    answer = content_of(inference(encode(Image.new("L", size, 128), "PNG")))

    assert set(answer) == FIELDS


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [(3, Image.Transpose.ROTATE_180), (6, Image.Transpose.ROTATE_90), (8, Image.Transpose.ROTATE_270)],
)
def test_a_photo_of_a_turned_camera_stands_upright(
    inference: Inference, orientation: int, stored: Image.Transpose
) -> None:
    upright = photo("coffee")
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = encode(upright.transpose(stored), "PNG", exif=exif)

    assert content_of(inference(turned)) == content_of(inference(encode(upright, "PNG")))
