"""What clients send beside the tutorial's form, and where a parameter may be."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest

from densenet_serving.gateway import uploads
from handler.errors import PayloadTooLarge
from tests.densenet_serving.gateway.conftest import CAT, DOG, TorchServe, check_error, files, loads

pytestmark = pytest.mark.anyio

JPEG = b"\xff\xd8\xff\xe0 a cat"
TEXT = base64.b64encode(JPEG * 20)
LABEL, OTHER = ({name: one[name] for name in ("class_id", "class_name")} for one in (CAT, DOG))
URLENCODED = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def torchserve() -> TorchServe:
    cats = dict.fromkeys((b"cat", JPEG, TEXT, TEXT + b"\n"), (200, CAT))
    return TorchServe(answers=cats | {b"dog": (200, DOG)})


def document(*contents: bytes, **parameters: object) -> bytes:
    instances = [{"b64": base64.b64encode(content).decode()} for content in contents]
    return json.dumps({"instances": instances, "parameters": parameters}).encode()


TYPES = ["image/jpeg", "IMAGE/JPEG; charset=binary", "application/octet-stream", "text/plain", "", None]


@pytest.mark.parametrize("content_type", [*TYPES, URLENCODED["Content-Type"]])
@pytest.mark.parametrize("content", [JPEG, TEXT + b"\n"], ids=["photo", "base64, which the handler undoes"])
async def test_a_photo_as_the_body(
    front: httpx.AsyncClient, torchserve: TorchServe, content_type: str | None, content: bytes
) -> None:
    """curl calls any body urlencoded, unless it is told otherwise."""
    headers = {} if content_type is None else {"Content-Type": content_type}
    assert loads(await front.post("/predict", content=content, headers=headers)) == LABEL
    assert torchserve.asked[0].content == content


@pytest.mark.parametrize("encode", [urlencode, lambda fields: "&".join(f"{k}={v.decode()}" for k, v in fields.items())])
async def test_base64_in_an_urlencoded_form(front: httpx.AsyncClient, torchserve: TorchServe, encode: Any) -> None:
    body = encode({"csrf_token": b"abc", "photo": TEXT, "top_k": b"3"})
    assert loads(await front.post("/predict", content=body, headers=URLENCODED)) == CAT
    assert torchserve.asked[0].content == TEXT
    assert torchserve.asked[0].headers["top-k"] == "3"


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", "text/plain;charset=UTF-8", "", URLENCODED["Content-Type"]],
)
async def test_json(front: httpx.AsyncClient, content_type: str) -> None:
    headers = {"Content-Type": content_type}
    assert loads(await front.post("/predict", content=document(b"cat"), headers=headers)) == LABEL
    assert loads(await front.post("/predict", content=document(b"cat", b"dog"), headers=headers)) == [LABEL, OTHER]


async def test_a_bad_instance_has_its_error_in_its_place(front: httpx.AsyncClient) -> None:
    body = {"instances": [{"b64": "!!"}, {"b64": "Y2F0"}, {"url": "x"}]}
    first, second, third = loads(await front.post("/predict", json=body))
    assert second == LABEL
    assert "instance 0" in first["error"]["message"]
    assert "Instance 2" in third["error"]["message"]
    check_error(await front.post("/explain", json={"instances": [{"b64": "!!"}]}), 400, "base64")


@pytest.mark.parametrize(
    ("body", "status", "fragment"),
    [
        (b'{"instances', 400, "JSON"),
        (b'{"image": "x"}', 400, "instances"),
        (document(), 400, "no file"),
        (document(*[b"cat"] * 4), 413, "3 files"),
        (document(b"cat", topk=3), 400, "topk"),
    ],
)
async def test_json_that_is_refused(
    front: httpx.AsyncClient, torchserve: TorchServe, body: bytes, status: int, fragment: str
) -> None:
    check_error(await front.post("/predict", content=body), status, fragment)
    assert torchserve.asked == []


def test_json_of_many_values_is_refused_before_it_is_read() -> None:
    with pytest.raises(PayloadTooLarge, match=str(uploads.MAX_MARKS)):
        uploads.from_json(b"{" + b"," * uploads.MAX_MARKS)


@pytest.mark.parametrize("name", ["top_k", "Top-K", "TOP-K"])
async def test_a_parameter_may_be_in_four_places_and_the_nearest_one_wins(
    front: httpx.AsyncClient, torchserve: TorchServe, name: str
) -> None:
    header, query, form = {"headers": {"Top-K": "2"}}, {"params": {name: "3"}}, {"data": {name: "4"}}
    photo: dict[str, Any] = {"files": files(b"cat")}
    in_json = {"content": document(b"cat", **{name: 5})}
    sent: list[dict[str, Any]] = [photo | header, photo | header | query, photo | header | query | form, in_json]
    for request in sent:
        assert loads(await front.post("/predict", **request)) == CAT  # with a parameter, in full
    assert [asked.headers["top-k"] for asked in torchserve.asked] == ["2", "3", "4", "5"]


@pytest.mark.parametrize("class_id", ["n02124075", "猫", "naïve\r\nclass", "a&b=c", "100%"])
async def test_a_value_may_be_in_any_alphabet(front: httpx.AsyncClient, torchserve: TorchServe, class_id: str) -> None:
    sent = {"class_id": class_id, "overlay": "0.25", "min_probability": "0.5", "top_k": "5"}
    for request in ({"params": sent}, {"data": sent}, {"headers": {"Class-Id": quote(class_id)}}):
        loads(await front.post("/explain", files=files(b"cat"), **request))  # type: ignore[arg-type]
        assert torchserve.asked[-1].headers["class-id"] == quote(class_id, safe="")
    assert [torchserve.asked[0].headers[name.replace("_", "-")] for name in list(sent)[1:]] == ["0.25", "0.5", "5"]


@pytest.mark.parametrize("size", [1, 1000])
async def test_a_compressed_body(front: httpx.AsyncClient, size: int) -> None:
    form = httpx.Request("POST", "http://form", files={"file": JPEG})
    bodies = [(JPEG, "image/jpeg"), (form.read(), form.headers["content-type"]), (document(JPEG), "a/json")]
    for content, kind in bodies:
        body = gzip.compress(content)

        async def stream(body: bytes = body) -> AsyncIterator[bytes]:
            for i in range(0, len(body), size):
                yield body[i : i + size]

        headers = {"Content-Type": kind, "Content-Encoding": "gzip"}
        assert loads(await front.post("/predict", content=stream(), headers=headers)) == LABEL


@pytest.mark.parametrize(
    ("coding", "body", "status", "fragment"),
    [
        ("br", JPEG, 415, "br"),
        ("gzip", JPEG, 400, "damaged"),
        ("gzip", gzip.compress(JPEG)[:-5], 400, "ends in the middle"),
        ("gzip", gzip.compress(bytes(10**6))[:1000], 413, "1,000 bytes"),
    ],
)
async def test_a_compressed_body_that_is_refused(
    front: httpx.AsyncClient, torchserve: TorchServe, coding: str, body: bytes, status: int, fragment: str
) -> None:
    check_error(await front.post("/predict", content=body, headers={"Content-Encoding": coding}), status, fragment)
    assert torchserve.asked == []


@pytest.mark.parametrize("body", [b"", JPEG, b"--x\r\n"])
async def test_a_form_without_a_boundary_is_said(front: httpx.AsyncClient, body: bytes) -> None:
    answer = await front.post("/predict", content=body, headers={"Content-Type": "multipart/form-data; boundary="})
    check_error(answer, 400, "boundary")
