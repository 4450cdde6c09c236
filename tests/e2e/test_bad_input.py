"""Nothing a client sends costs a worker: each mistake gets its own status and a sentence saying what to do."""

from __future__ import annotations

import base64
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import pytest
from PIL import Image

from densenet_serving.options import STAND_IN
from tests.e2e.support import Inference
from tests.errors import check_error
from tests.pictures import encode, photo

pytestmark = pytest.mark.usefixtures("same_workers")

URLENCODED = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}
JPEG = {"Content-Type": "image/jpeg"}


@dataclass(frozen=True)
class Bad:
    """One bad request, the status it deserves, and some words of the message."""

    status: int
    message: str
    request: dict[str, Any]
    path: str = f"/predictions/{STAND_IN}"


def body(content: bytes, headers: dict[str, str] | None = None) -> dict[str, Any]:
    return {"body": content, "headers": headers or {}}


def png_of(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(4_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def with_a_flipped_byte(image: bytes, after: bytes, distance: int) -> bytes:
    at = image.index(after) + distance
    return image[:at] + bytes([image[at] ^ 0xFF]) + image[at + 1 :]


CAT = encode(photo("chelsea"), quality=95)
CAT_PNG = encode(photo("chelsea"), "PNG")
CAT_BASE64 = base64.b64encode(CAT).decode()
ICON = encode(Image.new("RGB", (32, 32)), "ICO")
NOT_ACCEPTED = "send JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC"
NO_IMAGE = "The request has no image"
NO_PART = "found no whole part in the form"

BAD = {
    # not an image
    "zero bytes": Bad(400, "0 bytes", body(b"")),
    "zero bytes called jpeg": Bad(400, "0 bytes", body(b"", JPEG)),
    "a GET": Bad(400, "0 bytes", {"method": "GET"}),
    "text": Bad(415, NOT_ACCEPTED, body(b"hello", {"Content-Type": "text/plain"})),
    "text called jpeg": Bad(415, NOT_ACCEPTED, body(b"hello", JPEG)),
    "html": Bad(415, NOT_ACCEPTED, body(b"<!doctype html><p>404</p>", {"Content-Type": "text/html"})),
    "svg": Bad(
        415, NOT_ACCEPTED, body(b'<svg xmlns="http://www.w3.org/2000/svg"/>', {"Content-Type": "image/svg+xml"})
    ),
    "pdf": Bad(415, NOT_ACCEPTED, body(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", {"Content-Type": "application/pdf"})),
    "eps": Bad(415, NOT_ACCEPTED, body(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")),
    "icon": Bad(415, NOT_ACCEPTED, body(ICON)),
    # damaged
    "truncated jpeg": Bad(400, "send the whole file", body(CAT[: len(CAT) // 2])),
    "start of a jpeg": Bad(400, "send the whole file", body(CAT[:10])),
    "png with a broken checksum": Bad(400, "damaged, cut short", body(with_a_flipped_byte(CAT_PNG, b"IHDR", 18))),
    "png with broken pixels": Bad(400, "could not be decoded", body(with_a_flipped_byte(CAT_PNG, b"IDAT", 2000))),
    # too much
    "64 million pixels": Bad(413, "8,000 x 8,000 pixels", body(png_of(8000, 8000))),
    "100 million pixels": Bad(413, "10,000 x 10,000 pixels", body(png_of(10_000, 10_000))),
    "900 million pixels": Bad(413, "more pixels than the limit of 50,000,000", body(png_of(30_000, 30_000))),
    "20 MB": Bad(413, "the limit is 20,000,000", body(CAT + bytes(20_000_000), JPEG)),
    "33 images": Bad(413, "the limit is 32", {"files": {f"image {i}": CAT[:10] for i in range(33)}}),
    # JSON
    "json cut short": Bad(400, "not valid JSON", body(b'{"instances": [', JSON)),
    "json of bytes": Bad(400, "not valid JSON", body(b'{"instances": [{"b64": "\xff\xfe"}]}', JSON)),
    "json of something else": Bad(400, "no list named instances", {"json": {"inputs": [1, 2]}}),
    "json null": Bad(400, "no list named instances", body(b"null", JSON)),
    "json without images": Bad(400, NO_IMAGE, {"json": {"instances": []}}),
    "json with an instance without b64": Bad(400, "no text named b64", {"json": {"instances": [{"url": "x"}]}}),
    "bad base64": Bad(400, "not valid base64", {"json": {"instances": [{"b64": "###"}]}}),
    "base64 of nothing": Bad(400, "0 bytes", {"json": {"instances": [{"b64": ""}]}}),
    "json with an unknown parameter": Bad(
        400, "Unknown parameter k", {"json": {"instances": [{"b64": CAT_BASE64}], "parameters": {"k": 1}}}
    ),
    # forms
    "empty form": Bad(400, NO_PART, body(b"--x--\r\n", {"Content-Type": "multipart/form-data; boundary=x"})),
    "form cut short": Bad(
        400,
        NO_PART,
        body(
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc',
            {"Content-Type": "multipart/form-data; boundary=x"},
        ),
    ),
    "form with parameters only": Bad(400, NO_IMAGE, {"files": {"top_k": (None, "5")}}),
    "form field of text": Bad(400, NO_IMAGE, {"files": {"file": (None, "cat.jpg")}}),
    "form field of no bytes": Bad(400, "0 bytes", {"files": {"file": b""}}),
    # curl --data-binary without a Content-Type
    "image called a form": Bad(400, "add -H 'Content-Type: image/jpeg'", body(b"\xff\xd8\xff\xe0 JFIF", URLENCODED)),
    # parameters
    "top_k of text": Bad(400, "top_k must be a whole number", body(CAT, {"Top-K": "abc"})),
    "top_k of 0": Bad(400, "top_k must be a whole number", body(CAT, {"Top-K": "0"})),
    "min_probability of 2": Bad(400, "from 0 to 1", body(CAT, {"Min-Probability": "2"})),
    "min_probability of nan": Bad(400, "from 0 to 1", body(CAT, {"Min-Probability": "nan"})),
    # addresses: TorchServe's own answers
    "unknown model": Bad(404, "Model not found: nobody", body(CAT), "/predictions/nobody"),
    "unknown version": Bad(404, "Model version: 9.9 does not exist", body(CAT), f"/predictions/{STAND_IN}/9.9"),
    "unknown address": Bad(404, "not found", body(CAT), "/nothing/here/at/all"),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_one_mistake(inference: Inference, bad: Bad) -> None:
    answer = inference(path=bad.path, **bad.request)

    assert answer.status_code == bad.status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    check_error(answer.json(), bad.status, bad.message)


@pytest.mark.parametrize("form", [b"\xff=\xd8\r\xff", b"\xff=%\xd8\xff"], ids=["carriage return", "percent sign"])
def test_torchserve_itself_fails_on_some_images_called_a_form(inference: Inference, form: bytes) -> None:
    """Its form decoder meets them before any handler does, and answers as if the server were at fault."""
    answer = inference(form, headers=URLENCODED)

    assert answer.status_code == 500
    check_error(answer.json(), 500, "")
    assert answer.json()["type"] == "ErrorDataDecoderException"


def test_torchserve_itself_refuses_a_body_past_its_own_limit_without_a_word(inference: Inference) -> None:
    answer = inference(bytes(33_554_433), headers=JPEG)

    assert (answer.status_code, answer.content) == (413, b"")


def test_a_bad_image_among_good_ones_is_answered_in_its_place(inference: Inference) -> None:
    answer = inference(files={"a": CAT, "b": b"hello", "c": CAT_PNG, "d": b""})

    assert answer.status_code == 200
    first, second, third, fourth = answer.json()
    assert first["recognized"] is third["recognized"] is True
    check_error(second["error"], 415, NOT_ACCEPTED)
    check_error(fourth["error"], 400, "0 bytes")


def test_a_bad_instance_among_good_ones_is_answered_in_its_place(inference: Inference) -> None:
    answer = inference(json={"instances": [{"b64": "###"}, {"b64": CAT_BASE64}]})

    assert answer.status_code == 200
    first, second = answer.json()
    check_error(first["error"], 400, "instance 0 is not valid base64")
    assert second["recognized"] is True


def test_only_bad_images_give_the_first_ones_status(inference: Inference) -> None:
    answer = inference(files={"a": b"hello", "b": b"", "c": b"hello"})

    assert answer.status_code == 415
    assert answer.headers["Content-Type"] == "application/json"
    assert [item["error"]["code"] for item in answer.json()] == [415, 400, 415]
