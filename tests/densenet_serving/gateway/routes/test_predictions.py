from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.densenet_serving.gateway.conftest import CAT, DOG, NO_IMAGE, UNSURE, TorchServe, check_error, files, loads

pytestmark = pytest.mark.anyio

CAT_LABEL = {"class_id": "n02124075", "class_name": "Egyptian_cat"}
DOG_LABEL = {"class_id": "n02110341", "class_name": "dalmatian"}


async def test_the_tutorials_request_gets_the_tutorials_answer(front: httpx.AsyncClient) -> None:
    response = await front.post("/predict", files={"file": b"cat"})

    assert response.headers["content-type"] == "application/json"
    assert response.content == b'{"class_id":"n02124075","class_name":"Egyptian_cat"}'


@pytest.mark.parametrize("query", ["top_k=2", "min_probability=0.5", "top_k=1&min_probability=0"])
async def test_with_a_parameter_the_answer_is_torchserves(
    front: httpx.AsyncClient, torchserve: TorchServe, query: str
) -> None:
    assert loads(await front.post(f"/predict?{query}", files={"file": b"cat"})) == CAT

    sent = dict(pair.split("=") for pair in query.split("&"))
    headers = torchserve.asked[-1].headers
    assert {name: float(headers[name.replace("_", "-")]) for name in sent} == {k: float(v) for k, v in sent.items()}


@pytest.mark.parametrize("name", ["top_k", "Top-K"])
async def test_a_parameter_may_stand_in_the_form(front: httpx.AsyncClient, torchserve: TorchServe, name: str) -> None:
    assert loads(await front.post("/predict", files={"file": b"cat"}, data={name: "3"})) == CAT
    assert torchserve.asked[-1].headers["top-k"] == "3"


async def test_what_is_not_recognized_is_answered_in_full(front: httpx.AsyncClient) -> None:
    assert loads(await front.post("/predict", files={"file": b"noise"})) == UNSURE


async def test_a_multi_label_model_is_answered_in_full(front: httpx.AsyncClient, torchserve: TorchServe) -> None:
    several = CAT | {"predictions": [CAT_LABEL | {"probability": 0.9}, DOG_LABEL | {"probability": 0.8}]}
    torchserve.replies.append(httpx.Response(200, json=several))
    assert loads(await front.post("/predict", files={"file": b"cat"})) == several


async def test_several_files_under_one_name_are_answered_in_the_order_sent(front: httpx.AsyncClient) -> None:
    assert loads(await front.post("/predict", files=files(b"cat", b"dog", b"cat"))) == [CAT_LABEL, DOG_LABEL, CAT_LABEL]


async def test_several_files_under_several_names(front: httpx.AsyncClient) -> None:
    response = await front.post("/predict?top_k=1", files={"z": b"dog", "a": b"cat"})

    assert loads(response) == [DOG, CAT]


async def test_the_files_of_a_request_are_with_torchserve_together(
    front: httpx.AsyncClient, torchserve: TorchServe
) -> None:
    together = asyncio.Barrier(3)

    async def wait_for_the_others(request: httpx.Request) -> httpx.Response:
        await together.wait()
        return httpx.Response(200, json=CAT)

    torchserve.replies = [wait_for_the_others] * 3
    async with asyncio.timeout(5):
        assert len(loads(await front.post("/predict", files=files(b"1", b"2", b"3")))) == 3


async def test_a_bad_file_among_good_ones_has_its_error_in_its_place(front: httpx.AsyncClient) -> None:
    first, second, third = loads(await front.post("/predict", files=files(b"cat", b"text", b"")))

    assert first == CAT_LABEL
    assert second == {"error": {"code": 400, "type": "BadRequestException", "message": NO_IMAGE["message"]}}
    assert third["error"]["code"] == 400
    assert "empty" in third["error"]["message"]


async def test_where_no_file_is_good_the_status_is_the_first_errors(front: httpx.AsyncClient) -> None:
    response = await front.post("/predict", files=files(b"text", b""))

    assert response.status_code == 400
    assert [item["error"]["code"] for item in response.json()] == [400, 400]


async def test_a_text_file_is_a_bad_request(front: httpx.AsyncClient) -> None:
    check_error(await front.post("/predict", files={"file": b"text"}), 400, "not an image")


async def test_an_empty_file_never_reaches_torchserve(front: httpx.AsyncClient, torchserve: TorchServe) -> None:
    check_error(await front.post("/predict", files={"file": b""}), 400, "The file is empty")
    assert torchserve.asked == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"data": {"file": "cat"}},
        {"files": {"top_k": (None, "3")}},
        {"content": b"", "headers": {"Content-Type": "image/jpeg"}},
        {"files": {"submit": (None, "Upload")}},
    ],
)
async def test_without_a_file(front: httpx.AsyncClient, body: dict[str, object]) -> None:
    check_error(await front.post("/predict", **body), 400, "The request has no file: send the photo")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("query", "fragment"),
    [
        ("top_k=many", "The parameter top_k cannot be 'many': input should be a valid integer"),
        ("top_k=0", "The parameter top_k cannot be '0': input should be greater than or equal to 1."),
        ("min_probability=2", "The parameter min_probability cannot be '2'"),
        ("min_probability=nan", "The parameter min_probability cannot be 'nan'"),
        ("topk=3", "Unknown parameter topk: /predict takes top_k and min_probability; /explain takes"),
        ("top_k=%0d%0aX-Injected:1", "The parameter top_k cannot be"),
    ],
)
async def test_a_wrong_parameter(front: httpx.AsyncClient, torchserve: TorchServe, query: str, fragment: str) -> None:
    check_error(await front.post(f"/predict?{query}", files={"file": b"cat"}), 400, fragment)
    assert torchserve.asked == []


async def test_a_wrong_parameter_in_the_form(front: httpx.AsyncClient) -> None:
    response = await front.post("/predict", files={"file": b"cat"}, data={"top_k": "many"})

    check_error(response, 400, "The parameter top_k cannot be 'many'")


@pytest.mark.parametrize("status", [404, 413, 500, 503])
async def test_other_errors_pass_through(front: httpx.AsyncClient, torchserve: TorchServe, status: int) -> None:
    error = {"code": status, "type": "SomeException", "message": "A reason."}
    torchserve.replies = [httpx.Response(status, json=error)]

    response = await front.post("/predict", files={"file": b"cat"})

    assert (response.status_code, response.json()) == (status, error)


@pytest.mark.parametrize("content", [{"tabby": 0.7, "lynx": 0.2}, ["tabby"], "tabby", 3, {"recognized": True}])
@pytest.mark.parametrize("query", ["", "?top_k=5"])
async def test_the_answer_of_another_projects_handler_passes_through(
    front: httpx.AsyncClient, torchserve: TorchServe, content: object, query: str
) -> None:
    torchserve.replies = [httpx.Response(200, json=content)] * 3
    expected = content if query or content != {"recognized": True} else {"class_id": None, "class_name": None}

    assert loads(await front.post(f"/predict{query}", files={"file": b"cat"})) == expected
    assert loads(await front.post("/explain", files={"file": b"cat"}, headers={"Accept": "image/png"})) == content


async def test_text_of_another_projects_handler_is_an_answer(front: httpx.AsyncClient, torchserve: TorchServe) -> None:
    """TorchServe gives it no content type."""
    torchserve.replies = [httpx.Response(200, content=b"tabby"), httpx.Response(200, html="<p>another server</p>")]

    assert loads(await front.post("/predict", files={"file": b"cat"})) == "tabby"
    check_error(await front.post("/predict", files={"file": b"cat"}), 502, "TorchServe's answer is not JSON")


@pytest.mark.parametrize("status", [400, 415, 500, 503])
async def test_so_does_its_error(front: httpx.AsyncClient, torchserve: TorchServe, status: int) -> None:
    torchserve.replies = [httpx.Response(status, json=["no"])]

    assert (await front.post("/predict", files={"file": b"cat"})).status_code == (400 if status == 415 else status)


async def test_a_client_over_its_share_of_decoding_is_told_when_to_come_back(
    front: httpx.AsyncClient, torchserve: TorchServe
) -> None:
    torchserve.replies = [httpx.Response(200, json=CAT, headers={"X-Decode-Seconds": "90"})]
    assert loads(await front.post("/predict", files=files(b"cat")))
    refused = await front.post("/predict", files=files(b"cat"))
    check_error(refused, 429, "wait 30 s, or send smaller images")
    assert refused.headers["Retry-After"] == "30"
    check_error(await front.post("/explain", files=files(b"cat")), 429, "more than its share")
    assert len(torchserve.asked) == 1
