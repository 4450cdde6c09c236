"""What /predict and /explain answer."""

from __future__ import annotations

import asyncio
import base64
import json

import httpx
import pytest

from tests.densenet_serving.gateway.conftest import (
    CAT,
    CAT_LABEL,
    DOG,
    DOG_LABEL,
    NO_IMAGE,
    UNSURE,
    TorchServe,
    check_error,
    files,
    loads,
)

pytestmark = pytest.mark.anyio

SEVERAL = CAT | {"predictions": [CAT_LABEL | {"probability": 0.9}, DOG_LABEL | {"probability": 0.8}]}
EXPLAINED = CAT | {"overlay": base64.b64encode(b"png").decode(), "maps": {"n02124075": [[0.5]]}}


async def test_the_tutorials_request_gets_the_tutorials_answer(front: httpx.AsyncClient) -> None:
    response = await front.post("/predict", files={"file": b"cat"})

    assert response.headers["content-type"] == "application/json"
    assert response.content == b'{"class_id":"n02124075","class_name":"Egyptian_cat"}'


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/predict?top_k=2", b'{"class_id": "n1",  "probability": 0.50}'),
        ("/predict?min_probability=0", b'{"tabby": 0.7, "lynx": NaN}'),
        ("/predict", b'["tabby"]'),
        ("/explain", b'{"overlay": "aGVhdA==" }'),
        ("/explain?top_k=5", b"3"),
        ("/explain", json.dumps(EXPLAINED).encode()),
    ],
)
async def test_torchserves_bytes_are_the_answer(
    front: httpx.AsyncClient, torchserve: TorchServe, path: str, content: bytes
) -> None:
    for content_type in ({"Content-Type": "application/json"}, {}):  # another project's handler names none
        torchserve.replies = [httpx.Response(200, content=content, headers=content_type)]
        answer = await front.post(path, files=files(b"cat"))
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        assert answer.content == content


async def test_several_answers_are_joined_as_they_are(front: httpx.AsyncClient, torchserve: TorchServe) -> None:
    answers = {b"cat": httpx.Response(200, content=b'{"a" : 1}'), b"text": httpx.Response(415, json=NO_IMAGE)}
    torchserve.replies = [lambda request: answers[request.content]] * 2
    answer = await front.post("/predict?top_k=2", files=files(b"cat", b"text"))
    error = b'{"code":400,"type":"BadRequestException","message":"This is not an image: send JPEG."}'
    assert answer.content == b'[{"a" : 1},{"error":%b}]' % error


@pytest.mark.parametrize("content", [UNSURE, SEVERAL, {"tabby": 0.7}, "tabby", 3, {"recognized": True}])
async def test_an_answer_that_has_no_short_form_is_answered_in_full(
    front: httpx.AsyncClient, torchserve: TorchServe, content: object
) -> None:
    """A photo that is not recognized, a multi-label model's, and those of other projects."""
    torchserve.replies = [httpx.Response(200, json=content)]
    expected = {"class_id": None, "class_name": None} if content == {"recognized": True} else content
    assert loads(await front.post("/predict", files=files(b"cat"))) == expected


async def test_text_of_another_projects_handler_is_an_answer(front: httpx.AsyncClient, torchserve: TorchServe) -> None:
    """TorchServe gives it no content type."""
    torchserve.replies = [httpx.Response(200, content=b"tabby"), httpx.Response(200, html="<p>another server</p>")]
    assert loads(await front.post("/predict", files=files(b"cat"))) == "tabby"
    check_error(await front.post("/predict", files=files(b"cat")), 502, "not JSON")


async def test_several_files_are_answered_in_the_order_sent(front: httpx.AsyncClient) -> None:
    assert loads(await front.post("/predict", files=files(b"cat", b"dog", b"cat"))) == [CAT_LABEL, DOG_LABEL, CAT_LABEL]
    assert loads(await front.post("/predict?top_k=1", files={"z": b"dog", "a": b"cat"})) == [DOG, CAT]


async def test_the_files_of_a_request_are_with_torchserve_together(
    front: httpx.AsyncClient, torchserve: TorchServe
) -> None:
    together = asyncio.Barrier(3)

    async def wait_for_the_others(_: httpx.Request) -> httpx.Response:
        await together.wait()
        return httpx.Response(200, json=CAT)

    torchserve.replies = [wait_for_the_others] * 3
    async with asyncio.timeout(5):
        assert len(loads(await front.post("/predict", files=files(b"1", b"2", b"3")))) == 3


async def test_a_bad_file_among_good_ones_has_its_error_in_its_place(front: httpx.AsyncClient) -> None:
    first, second, third = loads(await front.post("/predict", files=files(b"cat", b"text", b"")))

    assert first == CAT_LABEL
    assert (second["error"]["code"], second["error"]["message"]) == (400, NO_IMAGE["message"])
    assert third["error"]["code"] == 400


async def test_where_no_file_is_good_the_status_is_the_first_errors(front: httpx.AsyncClient) -> None:
    response = await front.post("/predict", files=files(b"text", b""))
    assert response.status_code == 400
    assert [item["error"]["code"] for item in response.json()] == [400, 400]


@pytest.mark.parametrize("status", [404, 413, 415, 500, 503])
@pytest.mark.parametrize("content", [{"code": 5, "type": "SomeException", "message": "A reason."}, ["no"]])
async def test_an_error_of_torchserve_passes_through(
    front: httpx.AsyncClient, torchserve: TorchServe, status: int, content: object
) -> None:
    """But for one: the tutorial's clients know no other refusal of a file than 400."""
    torchserve.replies = [httpx.Response(status, json=content)] * 2

    predicted = await front.post("/predict", files=files(b"cat"))
    explained = await front.post("/explain", files=files(b"cat"), headers={"Accept": "image/png"})

    assert (explained.status_code, explained.json()) == (status, content)
    assert predicted.status_code == (400 if status == 415 else status)
    assert status == 415 or predicted.json() == content


@pytest.mark.parametrize(
    ("path", "form", "status", "fragment"),
    [
        ("/predict", {"files": files(b"text")}, 400, "not an image"),
        ("/explain", {"files": files(b"text")}, 415, "not an image"),
        ("/explain", {"files": files(b"cat", b"dog")}, 400, "several files"),
        ("/predict", {"files": files(*[b"x"] * 4)}, 413, "3 files"),
        ("/explain", {"files": files(b"cat"), "params": {"overlay": "2"}}, 400, "overlay"),
        ("/explain", {"files": files(b"cat"), "params": {"class_id": "x" * 101}}, 400, "class_id"),
        ("/explain", {"files": files(b"cat"), "data": {"class_id": "x" * 101}}, 400, "class_id"),
        *(
            (path, form, status, fragment)
            for path in ("/predict", "/explain")
            for form, status, fragment in [
                ({}, 400, "no file"),
                ({"data": {"file": "cat"}}, 400, "no file"),
                ({"files": {"top_k": (None, "3")}}, 400, "no file"),
                ({"files": {"submit": (None, "Upload")}}, 400, "no file"),
                ({"content": b"", "headers": {"Content-Type": "image/jpeg"}}, 400, "no file"),
                ({"files": files(b"")}, 400, "empty"),
                ({"files": files(b"x" * 1000)}, 413, "larger than"),
                ({"files": files(b"cat"), "params": {"topk": "2"}}, 400, "topk"),
                ({"files": files(b"cat"), "params": {"top_k": "many"}}, 400, "'many'"),
                ({"files": files(b"cat"), "data": {"top_k": "0"}}, 400, "top_k"),
                ({"files": files(b"cat"), "headers": {"Top-K": "0"}}, 400, "top_k"),
                ({"files": files(b"cat", b"cat"), "params": {"min_probability": "nan"}}, 400, "min_probability"),
                ({"files": files(b"cat"), "params": {"top_k\r\nX-Injected": "2"}}, 400, "Injected"),
            ]
        ),
        ("/predict", {"files": files(b"cat"), "params": {"overlay": "1"}}, 400, "overlay"),
        ("/predict", {"files": files(b"cat"), "data": {"class_id": "n1"}}, 400, "class_id"),
    ],
)
async def test_what_is_refused(
    front: httpx.AsyncClient, torchserve: TorchServe, path: str, form: dict[str, object], status: int, fragment: str
) -> None:
    check_error(await front.post(path, **form), status, fragment)  # type: ignore[arg-type]
    assert [asked for asked in torchserve.asked if asked.content != b"text"] == []


async def test_accept_png_gives_torchserves_picture(front: httpx.AsyncClient, torchserve: TorchServe) -> None:
    """An archive that cannot explain gives none, and its answer passes through."""
    picture = httpx.Response(200, content=b"png", headers={"Content-Type": "image/png"})
    torchserve.replies = [picture, httpx.Response(200, json=CAT)]
    png, old = [await front.post("/explain", files=files(b"cat"), headers={"Accept": "image/png"}) for _ in range(2)]

    assert (png.headers["content-type"], png.content) == ("image/png", b"png")
    assert loads(old) == CAT
    asked = {(one.url.path, one.headers["accept"]) for one in torchserve.asked}
    assert asked == {("/explanations/densenet121", "image/png")}
