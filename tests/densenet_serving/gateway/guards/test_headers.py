from __future__ import annotations

import httpx
import pytest

from densenet_serving.gateway.guards.headers import HEADERS
from densenet_serving.gateway.keys import ApiKeys
from densenet_serving.gateway.settings import GatewaySettings
from tests.densenet_serving.gateway.conftest import TorchServe

pytestmark = pytest.mark.anyio

STRANGER = "https://stranger.example"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/page/main.js", 200),
        ("GET", "/docs", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/healthz", 200),
        ("POST", "/predict", 400),
        ("GET", "/nothing", 404),
        ("PATCH", "/predict", 405),
    ],
)
async def test_every_answer_has_its_headers(front: httpx.AsyncClient, method: str, path: str, status: int) -> None:
    answer = await front.request(method, path)

    assert answer.status_code == status
    own = {"Cache-Control": "no-cache"} if path in ("/", "/page/main.js", "/docs") else {}
    expected = HEADERS | own
    assert {name: answer.headers.get(name) for name in expected} == expected


async def test_so_have_a_bug_and_every_refusal(
    front: httpx.AsyncClient, torchserve: TorchServe, settings: GatewaySettings
) -> None:
    torchserve.replies = [ZeroDivisionError()]
    answers = [
        await front.post("/predict", files={"file": b"cat"}),
        await front.get("/healthz", headers={"Host": "stranger.example"}),
        await front.post("/predict", headers={"Origin": STRANGER}),
    ]
    ApiKeys(settings.run_dir).add("phone")
    answers.append(await front.get("/"))

    assert [answer.status_code for answer in answers] == [500, 400, 403, 401]
    for answer in answers:
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS


def test_the_policy_allows_nothing_from_elsewhere_and_nothing_inline() -> None:
    policy = HEADERS["Content-Security-Policy"]

    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert [word for word in ("unsafe", "http", "*", "script-src") if word in policy] == []
