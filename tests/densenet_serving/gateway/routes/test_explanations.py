from __future__ import annotations

import base64
import json

import httpx
import pytest

from tests.densenet_serving.gateway.conftest import CAT, NO_IMAGE, TorchServe, check_error, files, loads

pytestmark = pytest.mark.anyio

EXPLAINED = CAT | {"overlay": base64.b64encode(b"png").decode()}


@pytest.fixture
def torchserve() -> TorchServe:
    return TorchServe(replies=[httpx.Response(200, json=EXPLAINED)])


def fields_of(request: httpx.Request) -> dict[str, str]:
    """Take the fields out of the form that TorchServe was sent."""
    boundary = request.headers["content-type"].partition("boundary=")[2]
    parts = [part.partition("\r\n\r\n") for part in request.content.decode().split(f"--{boundary}")[1:-1]]
    return {head.partition('name="')[2].partition('"')[0]: body.removesuffix("\r\n") for head, _, body in parts}


async def test_the_answer_is_torchserves(front: httpx.AsyncClient, torchserve: TorchServe) -> None:
    assert loads(await front.post("/explain", files={"file": b"cat"})) == EXPLAINED

    (asked,) = torchserve.asked
    assert asked.url.path == "/explanations/densenet121"
    assert fields_of(asked) == {"file": "cat"}


@pytest.mark.parametrize("class_id", ["n02124075", "猫", "naïve\r\nclass", "a&b=c"])
async def test_a_class_may_be_chosen_in_any_alphabet(
    front: httpx.AsyncClient, torchserve: TorchServe, class_id: str
) -> None:
    torchserve.replies *= 2
    sent = {"class_id": class_id, "overlay": "1", "min_probability": "0.5"}

    loads(await front.post("/explain", files={"file": b"cat"}, params=sent))
    loads(await front.post("/explain", files={"file": b"cat"}, data=sent))

    expected = {"file": "cat", "class_id": class_id, "overlay": "1.0", "min_probability": "0.5"}
    assert [fields_of(asked) for asked in torchserve.asked] == [expected] * 2


async def test_accept_png_gives_the_picture_itself(front: httpx.AsyncClient) -> None:
    answer = await front.post("/explain", files={"file": b"cat"}, headers={"Accept": "image/png"})

    assert (answer.headers["content-type"], answer.content) == ("image/png", b"png")


async def test_an_archive_that_cannot_explain_answers_in_json(front: httpx.AsyncClient, torchserve: TorchServe) -> None:
    torchserve.replies = [httpx.Response(200, json=CAT)]

    assert loads(await front.post("/explain", files={"file": b"cat"}, headers={"Accept": "image/png"})) == CAT


@pytest.mark.parametrize(
    ("form", "status", "fragment"),
    [
        ({"files": files(b"cat", b"dog")}, 400, "several files: send one"),
        ({"data": {"class_id": "n02124075"}}, 400, "has no file"),
        ({"files": files(b"")}, 400, "The file is empty"),
        ({"files": files(b"x" * 1000)}, 413, "The request is larger than"),
        ({"files": files(b"cat"), "params": {"overlay": "2"}}, 400, "The parameter overlay cannot be '2'"),
        ({"files": files(b"cat"), "params": {"top_k": "2"}}, 400, "Unknown parameter top_k: /predict takes top_k"),
        ({"files": files(b"cat"), "data": {"top_k": "2"}}, 400, "Unknown parameter top_k"),
    ],
)
async def test_what_is_refused(
    front: httpx.AsyncClient, torchserve: TorchServe, form: dict[str, object], status: int, fragment: str
) -> None:
    check_error(await front.post("/explain", **form), status, fragment)  # type: ignore[arg-type]
    assert torchserve.asked == []


async def test_an_error_of_torchserve_passes_through(front: httpx.AsyncClient, torchserve: TorchServe) -> None:
    torchserve.replies = [httpx.Response(415, json=NO_IMAGE)]

    answer = await front.post("/explain", files={"file": b"text"}, headers={"Accept": "image/png"})
    check_error(answer, 415, "not an image")
    assert json.loads(answer.content) == NO_IMAGE
