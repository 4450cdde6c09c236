from __future__ import annotations

import asyncio
import json
import re
from dataclasses import fields, replace

import httpx
import pytest
from fastapi import FastAPI

from densenet_serving.gateway.app import create_app
from densenet_serving.gateway.keys import ApiKeys
from densenet_serving.gateway.messages import MOST_TOKENS, NO_RETRY
from densenet_serving.gateway.settings import GatewaySettings
from densenet_serving.gateway.upstream import Upstream
from handler.answers import Answer, Explanation
from handler.parameters import EXPLANATION, PARAMETERS, PREDICTION
from tests.densenet_serving.gateway.conftest import CAT, TorchServe, check_error, client_of, loads

pytestmark = pytest.mark.anyio

ORIGIN = "https://shop.example"


async def test_the_documentation_loads_nothing_from_elsewhere(front: httpx.AsyncClient) -> None:
    page = (await front.get("/docs")).text
    links = re.findall(r"""(?:src|href)=["']([^"']+)""", page)

    assert len(links) >= 3
    assert [link for link in links if not link.startswith("page/")] == []
    for link in links:
        answer = await front.get(f"/{link}")
        assert answer.status_code == 200, link
        assert len(answer.content) > 100
    assert "://" not in page


@pytest.mark.parametrize(
    ("path", "known", "record", "types"),
    [
        ("/predict", PREDICTION, Answer, {"application/json"}),
        ("/explain", EXPLANATION, Explanation, {"application/json", "image/png"}),
    ],
)
async def test_the_documentation_follows_the_handlers_records(
    front: httpx.AsyncClient, path: str, known: tuple[str, ...], record: type, types: set[str]
) -> None:
    openapi = loads(await front.get("/openapi.json"))
    found = openapi["paths"][path]["post"]

    assert set(openapi["paths"]) == {"/predict", "/explain", "/model", "/healthz", "/readyz"}
    assert found["requestBody"]["content"]["multipart/form-data"]["schema"]["required"] == ["file"]
    assert {one["name"]: one["schema"] for one in found["parameters"]} == {
        name: PARAMETERS[name].schema() for name in known
    }
    answered = found["responses"]["200"]["content"]
    assert set(answered) == types
    assert f"#/components/schemas/{record.__name__}" in json.dumps(answered)
    properties = openapi["components"]["schemas"][record.__name__]["properties"]
    described = {one.name: one.metadata["description"] for one in fields(record)}
    assert {name: one["description"] for name, one in properties.items()} == described
    assert "422" not in found["responses"]


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/nothing", 404, "ResourceNotFoundException"),
        ("GET", "/predict", 405, "MethodNotAllowedException"),
        ("POST", "/healthz", 405, "MethodNotAllowedException"),
    ],
)
async def test_what_is_not_served(front: httpx.AsyncClient, method: str, path: str, status: int, kind: str) -> None:
    answer = await front.request(method, path)

    check_error(answer, status, f"{method} {path}")
    assert answer.json()["type"] == kind


async def test_a_bug_is_a_500_that_tells_nothing(front: httpx.AsyncClient, torchserve: TorchServe) -> None:
    torchserve.replies = [ZeroDivisionError("a secret")]

    answer = await front.post("/predict", files={"file": b"cat"})

    check_error(answer, 500, "log")
    assert "secret" not in answer.text


async def test_one_request_too_many_is_refused_and_the_others_are_answered(
    upstream: Upstream, settings: GatewaySettings, torchserve: TorchServe
) -> None:
    opened = asyncio.Event()

    async def wait(_: httpx.Request) -> httpx.Response:
        await opened.wait()
        return httpx.Response(200, json=CAT)

    torchserve.replies = [wait] * 2
    async with client_of(create_app(upstream, replace(settings, max_requests=2))) as front:
        waiting = [asyncio.create_task(front.post("/predict", files={"file": b"cat"})) for _ in range(2)]
        while len(torchserve.asked) < 2:
            await asyncio.sleep(0)
        refused = await front.post("/predict", files={"file": b"cat"})
        opened.set()

        check_error(refused, 503, "busy")
        assert refused.headers["retry-after"] == "1"
        assert [(await task).status_code for task in waiting] == [200, 200]
        assert (await front.post("/predict", files={"file": b"cat"})).status_code == 200


async def test_pages_of_other_origins_may_not_read(front: httpx.AsyncClient) -> None:
    answer = await front.post("/predict", files={"file": b"cat"}, headers={"Origin": ORIGIN})
    asked = await front.options("/predict", headers={"Origin": ORIGIN, "Access-Control-Request-Method": "POST"})

    assert [name for name in (*answer.headers, *asked.headers) if name.startswith("access-control")] == []


async def test_pages_of_a_named_origin_may(upstream: Upstream, settings: GatewaySettings) -> None:
    key = ApiKeys(settings.run_dir).add("shop")
    headers = {"Origin": ORIGIN, "Authorization": f"Bearer {key}"}
    question = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    async with client_of(create_app(upstream, replace(settings, cors_origins=(ORIGIN,)))) as front:
        asked = await front.options("/predict", headers={"Origin": ORIGIN} | question)
        answer = await front.post("/predict", files={"file": b"cat"}, headers=headers)
        refused = await front.post("/predict", files={"file": b"cat"}, headers={"Origin": ORIGIN})
        stranger = await front.post(
            "/predict", files={"file": b"cat"}, headers=headers | {"Origin": "https://x.example"}
        )

    assert asked.status_code == 200  # the browser asks without a key
    assert [a.headers.get("access-control-allow-origin") for a in (asked, answer, refused)] == [ORIGIN] * 3
    assert (answer.status_code, refused.status_code) == (200, 401)
    assert "access-control-allow-origin" not in stranger.headers


async def test_the_application_closes_its_connections(app: FastAPI, upstream: Upstream) -> None:
    async with app.router.lifespan_context(app):
        assert (await upstream.describe()).ok
    with pytest.raises(RuntimeError, match="closed"):
        await upstream.describe()


@pytest.mark.parametrize("route", ["/predict", "/explain"])
async def test_torchserves_full_queue_is_a_refusal_like_the_gateways_own(
    front: httpx.AsyncClient, torchserve: TorchServe, route: str
) -> None:
    """The user's job_queue_size may be below what the gateway lets through."""
    message = 'Model "densenet121" has no worker to serve inference request. Please use scale workers API.'
    full = {"code": 503, "type": "ServiceUnavailableException", "message": message}
    few = int(MOST_TOKENS)
    torchserve.replies.extend([httpx.Response(503, json=full)] * 2 * few)
    refused = [await front.post(route, files={"file": b"cat"}) for _ in range(2 * few)]
    assert {(one.status_code, one.headers["retry-after"]) for one in refused} == {(503, "1")}
    assert [NO_RETRY in one.headers for one in refused] == [False] * few + [True] * few


async def test_another_503_of_torchserve_says_nothing_about_when(
    front: httpx.AsyncClient, torchserve: TorchServe
) -> None:
    failed = {"code": 503, "type": "InternalServerException", "message": "Prediction failed"}
    torchserve.replies = [httpx.Response(503, json=failed)]
    assert "retry-after" not in (await front.post("/predict", files={"file": b"cat"})).headers
