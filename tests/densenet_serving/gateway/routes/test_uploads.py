"""What clients send to /predict beside the tutorial's form."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from densenet_serving.gateway.routes import uploads
from tests.densenet_serving.gateway.conftest import ANSWERS, CAT, DOG, TorchServe, check_error, loads

pytestmark = pytest.mark.anyio

JPEG = b"\xff\xd8\xff\xe0 a cat"
TEXT = base64.b64encode(JPEG * 20)
LABEL = {name: CAT[name] for name in ("class_id", "class_name")}
OTHER = {name: DOG[name] for name in ("class_id", "class_name")}
URLENCODED = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(autouse=True)
def photos(monkeypatch: pytest.MonkeyPatch) -> None:
    for content in (JPEG, JPEG * 20, TEXT, TEXT + b"\n"):
        monkeypatch.setitem(ANSWERS, content, (200, CAT))


def document(*contents: bytes, **parameters: object) -> bytes:
    instances = [{"b64": base64.b64encode(content).decode()} for content in contents]
    return json.dumps({"instances": instances, "parameters": parameters}).encode()


@pytest.mark.parametrize(
    "content_type", ["image/jpeg", "IMAGE/JPEG; charset=binary", "application/octet-stream", "text/plain", "", None]
)
async def test_a_photo_as_the_body(front: httpx.AsyncClient, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    assert loads(await front.post("/predict", content=JPEG, headers=headers)) == LABEL
    assert loads(await front.post("/predict?top_k=1", content=JPEG, headers=headers)) == CAT


async def test_a_photo_that_curl_calls_urlencoded(front: httpx.AsyncClient) -> None:
    assert loads(await front.post("/predict", content=JPEG, headers=URLENCODED)) == LABEL


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "text/plain"}, URLENCODED])
async def test_base64_as_the_body_is_left_to_the_handler(
    front: httpx.AsyncClient, torchserve: TorchServe, headers: dict[str, str]
) -> None:
    assert loads(await front.post("/predict", content=TEXT + b"\n", headers=headers)) == LABEL
    assert torchserve.asked[0].content == TEXT + b"\n"


@pytest.mark.parametrize("encode", [urlencode, lambda fields: "&".join(f"{k}={v.decode()}" for k, v in fields.items())])
async def test_base64_in_an_urlencoded_form(front: httpx.AsyncClient, torchserve: TorchServe, encode: Any) -> None:
    body = encode({"csrf_token": b"abc", "photo": TEXT, "top_k": b"3"})
    assert loads(await front.post("/predict", content=body, headers=URLENCODED)) == CAT
    assert torchserve.asked[0].content == TEXT
    assert torchserve.asked[0].headers["top-k"] == "3"


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", "text/plain;charset=UTF-8", "", URLENCODED]
)
async def test_json(front: httpx.AsyncClient, torchserve: TorchServe, content_type: str | dict[str, str]) -> None:
    headers = content_type if isinstance(content_type, dict) else {"Content-Type": content_type}
    assert loads(await front.post("/predict", content=document(b"cat"), headers=headers)) == LABEL
    assert loads(await front.post("/predict", content=document(b"cat", b"dog"), headers=headers)) == [LABEL, OTHER]
    assert loads(await front.post("/predict", content=document(b"cat", **{"Top-K": 3}), headers=headers)) == CAT
    assert torchserve.asked[-1].headers["top-k"] == "3"


async def test_a_bad_instance_has_its_error_in_its_place(front: httpx.AsyncClient) -> None:
    body = {"instances": [{"b64": "!!"}, {"b64": "Y2F0"}, {"url": "x"}]}
    first, second, third = loads(await front.post("/predict", json=body))
    assert second == LABEL
    assert "b64 of instance 0 is not valid base64" in first["error"]["message"]
    assert "Instance 2 has no text named b64" in third["error"]["message"]
    check_error(await front.post("/explain", json={"instances": [{"b64": "!!"}]}), 400, "is not valid base64")


@pytest.mark.parametrize(
    ("body", "status", "fragment"),
    [
        ({"image": "x"}, 400, "The JSON has no list named instances: send"),
        ({"instances": []}, 400, "The request has no file: send the photo"),
        ({"instances": [{"b64": "Y2F0"}] * 4}, 413, "The request has more than 3 files"),
        ({"instances": [1] * 200}, 413, "The JSON has more than 100 values"),
        ({"instances": [{"b64": "Y2F0"}], "parameters": {"topk": 3}}, 400, "Unknown parameter topk"),
        ({"instances": [{"b64": "Y2F0"}], "parameters": {"top_k": "many"}}, 400, "top_k cannot be 'many'"),
    ],
)
async def test_json_that_is_refused(
    front: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, body: dict[str, object], status: int, fragment: str
) -> None:
    monkeypatch.setattr(uploads, "MAX_MARKS", 100)
    check_error(await front.post("/predict", json=body), status, fragment)


async def test_json_that_is_none(front: httpx.AsyncClient) -> None:
    check_error(await front.post("/predict", content=b'{"instances', headers={}), 400, "The body is not valid JSON")


@pytest.mark.parametrize("name", ["Top-K", "top-k"])
async def test_parameters_may_be_headers_and_the_nearer_ones_win(
    front: httpx.AsyncClient, torchserve: TorchServe, name: str
) -> None:
    for query, data, expected in (("", {}, "2"), ("?top_k=3", {}, "3"), ("?top_k=3", {"top_k": "4"}, "4")):
        loads(await front.post(f"/predict{query}", files={"file": b"cat"}, data=data, headers={name: "2"}))
        assert torchserve.asked[-1].headers["top-k"] == expected
    check_error(await front.post("/predict", content=JPEG, headers={name: "x"}), 400, "The parameter top_k cannot be")


@pytest.mark.parametrize("size", [1, 1000])
async def test_a_compressed_body(front: httpx.AsyncClient, size: int) -> None:
    form = httpx.Request("POST", "http://form", files={"file": JPEG})
    for content, kind in (
        (JPEG, "image/jpeg"),
        (form.read(), form.headers["content-type"]),
        (document(JPEG), "a/json"),
    ):
        body = gzip.compress(content)
        pieces = [body[i : i + size] for i in range(0, len(body), size)]

        async def stream(pieces: list[bytes] = pieces) -> Any:
            for piece in pieces:
                yield piece

        headers = {"Content-Type": kind, "Content-Encoding": "gzip"}
        assert loads(await front.post("/predict", content=stream(), headers=headers)) == LABEL


@pytest.mark.parametrize(
    ("coding", "body", "status", "fragment"),
    [
        ("br", JPEG, 415, "The body's Content-Encoding is br: send it as it is"),
        ("gzip", JPEG, 400, "The compressed body is damaged"),
        ("gzip", gzip.compress(JPEG)[:-5], 400, "The compressed body ends in the middle"),
        ("gzip", gzip.compress(bytes(10**6)), 413, "The body has more than 1,000 bytes uncompressed"),
    ],
)
async def test_a_compressed_body_that_is_refused(
    front: httpx.AsyncClient, torchserve: TorchServe, coding: str, body: bytes, status: int, fragment: str
) -> None:
    check_error(
        await front.post("/predict", content=body[:1000], headers={"Content-Encoding": coding}), status, fragment
    )
    assert torchserve.asked == []


@pytest.mark.parametrize("body", [b"", JPEG, b"--x\r\n"])
async def test_a_form_without_a_boundary_is_said(front: httpx.AsyncClient, body: bytes) -> None:
    answer = await front.post("/predict", content=body, headers={"Content-Type": "multipart/form-data; boundary="})
    check_error(answer, 400, "multipart/form-data without a boundary")
