"""Nothing that a client sends costs a worker: each mistake gets its own status, in the shape of every error."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from densenet_serving.options import STAND_IN
from tests.e2e.support import Inference
from tests.errors import check_error
from tests.pictures import encode, photo, png

pytestmark = pytest.mark.usefixtures("same_workers")

URLENCODED = {"Content-Type": "application/x-www-form-urlencoded"}
FORM = {"Content-Type": "multipart/form-data; boundary=x"}
JSON = {"Content-Type": "application/json"}
JPEG = {"Content-Type": "image/jpeg"}
CAT = encode(photo("chelsea"), quality=95)
CAT_PNG = encode(photo("chelsea"), "PNG")
CAT_BASE64 = base64.b64encode(CAT).decode()


def body(content: bytes, headers: dict[str, str] | None = None) -> dict[str, Any]:
    return {"body": content, "headers": headers or {}}


def instances(*contents: str, **others: Any) -> dict[str, Any]:
    return {"json": {"instances": [{"b64": content} for content in contents], **others}}


# The status, the request, and what the message has to name where another error has the same status.
BAD: dict[str, tuple[int, dict[str, Any], str]] = {
    # not an image
    "zero bytes": (400, body(b""), ""),
    "zero bytes called jpeg": (400, body(b"", JPEG), ""),
    "a GET": (400, {"method": "GET"}, ""),
    "text": (415, body(b"hello", {"Content-Type": "text/plain"}), "JPEG"),
    "text called jpeg": (415, body(b"hello", JPEG), "JPEG"),
    "html": (415, body(b"<!doctype html><p>404</p>", {"Content-Type": "text/html"}), "JPEG"),
    "svg": (415, body(b'<svg xmlns="http://www.w3.org/2000/svg"/>', {"Content-Type": "image/svg+xml"}), "JPEG"),
    "pdf": (415, body(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", {"Content-Type": "application/pdf"}), "JPEG"),
    # damaged
    "truncated jpeg": (400, body(CAT[: len(CAT) // 2]), ""),
    "start of a jpeg": (400, body(CAT[:10]), ""),
    "png with broken pixels": (400, body(CAT_PNG[:4000] + b"\0\0" + CAT_PNG[4002:]), ""),
    # too much
    "64 million pixels": (413, body(png(8000, 8000, 8, 2, bytes(4_000_000))), "8,000 x 8,000"),
    "20 MB": (413, body(CAT + bytes(20_000_000), JPEG), "20,000,000"),
    "33 images": (413, {"files": {f"image {i}": CAT[:10] for i in range(33)}}, "32"),
    # JSON
    "json cut short": (400, body(b'{"instances": [', JSON), "JSON"),
    "json of bytes": (400, body(b'{"instances": [{"b64": "\xff\xfe"}]}', JSON), "JSON"),
    "json of something else": (400, {"json": {"inputs": [1, 2]}}, "instances"),
    "json null": (400, body(b"null", JSON), "instances"),
    "json without images": (400, instances(), ""),
    "json with an instance without b64": (400, {"json": {"instances": [{"url": "x"}]}}, "b64"),
    "bad base64": (400, instances("###"), "base64"),
    "base64 of nothing": (400, instances(""), ""),
    "json with an unknown parameter": (400, instances(CAT_BASE64, parameters={"k": 1}), "parameter k"),
    # forms
    "empty form": (400, body(b"--x--\r\n", FORM), "form"),
    "form cut short": (
        400,
        body(b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc', FORM),
        "form",
    ),
    "form with parameters only": (400, {"files": {"top_k": (None, "5")}}, ""),
    "form field of text": (400, {"files": {"file": (None, "cat.jpg")}}, ""),
    "form field of no bytes": (400, {"files": {"file": b""}}, ""),
    # curl --data-binary without a Content-Type
    "image called a form": (400, body(b"\xff\xd8\xff\xe0 JFIF", URLENCODED), "Content-Type: image/jpeg"),
    # addresses: TorchServe's own answers
    "unknown model": (404, body(CAT) | {"path": "/predictions/nobody"}, "nobody"),
    "unknown version": (404, body(CAT) | {"path": f"/predictions/{STAND_IN}/9.9"}, "9.9"),
    "unknown address": (404, body(CAT) | {"path": "/nothing/here/at/all"}, ""),
}


@pytest.mark.parametrize(("status", "request_", "named"), BAD.values(), ids=BAD)
def test_one_mistake(inference: Inference, status: int, request_: dict[str, Any], named: str) -> None:
    answer = inference(**request_)
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    check_error(answer.json(), status, named)


@pytest.mark.parametrize("form", [b"\xff=\xd8\r\xff", b"\xff=%\xd8\xff"], ids=["carriage return", "percent sign"])
def test_torchserve_itself_fails_on_some_images_called_a_form(inference: Inference, form: bytes) -> None:
    """Its form decoder meets them before any handler does, and answers as if the server were at fault."""
    answer = inference(form, headers=URLENCODED)
    assert answer.status_code == 500
    check_error(answer.json(), 500)
    assert answer.json()["type"] == "ErrorDataDecoderException"


def test_torchserve_itself_refuses_a_body_past_its_own_limit_without_a_word(inference: Inference) -> None:
    answer = inference(bytes(33_554_433), headers=JPEG)
    assert (answer.status_code, answer.content) == (413, b"")


@pytest.mark.parametrize(
    ("sent", "status", "codes"),
    [
        ({"files": {"a": CAT, "b": b"hello", "c": CAT_PNG, "d": b""}}, 200, [200, 415, 200, 400]),
        (instances("###", CAT_BASE64), 200, [400, 200]),
        ({"files": {"a": b"hello", "b": b"", "c": b"hello"}}, 415, [415, 400, 415]),  # the first one's
    ],
)
def test_bad_images_are_answered_in_their_place(
    inference: Inference, sent: dict[str, Any], status: int, codes: list[int]
) -> None:
    answer = inference(**sent)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/json"
    for item, code in zip(answer.json(), codes, strict=True):
        if code == 200:
            assert item["recognized"] is True
        else:
            check_error(item["error"], code)
