from __future__ import annotations

from http import HTTPStatus

import httpx
import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from densenet_serving.gateway import pages
from densenet_serving.gateway.keys import ApiKeys
from densenet_serving.gateway.messages import (
    HEADERS,
    MOST_TOKENS,
    NO_RETRY,
    TOKENS_OF_AN_ANSWER,
    AnswerHeaders,
)
from densenet_serving.gateway.settings import GatewaySettings
from tests.densenet_serving.gateway.conftest import CAT_LABEL, TorchServe, check_error, loads

pytestmark = pytest.mark.anyio

STRANGER = "https://stranger.example"
FULL = Response(status_code=HTTPStatus.SERVICE_UNAVAILABLE, headers={"Retry-After": "1"})
BROKEN = Response(status_code=HTTPStatus.SERVICE_UNAVAILABLE)
ANSWERED = Response()


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
    torchserve.replies = [ZeroDivisionError("a secret")]
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
    check_error(answers[0], 500, "log")
    assert "secret" not in answers[0].text


def test_the_policy_allows_nothing_from_elsewhere_and_nothing_inline() -> None:
    policy = HEADERS["Content-Security-Policy"]

    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert [word for word in ("unsafe", "http", "*", "script-src") if word in policy] == []


@pytest.mark.parametrize("address", ["/healthz", "/readyz", "/model", "/openapi.json", "/nothing", *pages.files()])
async def test_head_is_answered_as_get_without_a_body(front: httpx.AsyncClient, address: str) -> None:
    got, head = await front.get(address), await front.head(address)

    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["content-length"] == got.headers["content-length"]
    assert head.headers["content-type"] == got.headers["content-type"]


async def test_head_asks_for_no_prediction_and_put_is_post(front: httpx.AsyncClient, torchserve: TorchServe) -> None:
    """curl -T sends PUT."""
    assert (await front.head("/predict")).status_code == 405
    assert torchserve.asked == []
    assert loads(await front.put("/predict", content=b"cat")) == CAT_LABEL
    assert (await front.put("/healthz", content=b"cat")).status_code == 405


@pytest.mark.parametrize("path", ["/predict/", "/predict//", "///predict"])
async def test_a_slash_too_many_changes_nothing(front: httpx.AsyncClient, path: str) -> None:
    response = await front.post(f"http://127.0.0.1:8000{path}", files={"file": b"cat"})

    assert response.history == []
    assert loads(response) == CAT_LABEL
    assert (await front.get("/docs/")).content == (await front.get("/docs")).content


async def test_refusals_that_may_be_tried_elsewhere_are_a_few_and_a_part_of_the_answers() -> None:
    """A host that is broken, and not full, may always be replaced."""
    few, answers = int(MOST_TOKENS), round(1 / TOKENS_OF_AN_ANSWER) + 1  # one more: tenths do not add up exactly
    sent = [*[FULL] * 2 * few, *[ANSWERED] * answers, *[FULL] * 2, *[BROKEN] * 20]
    left = iter(sent)

    async def host(scope: Scope, receive: Receive, send: Send) -> None:
        await next(left)(scope, receive, send)

    transport = httpx.ASGITransport(AnswerHeaders(host))
    async with httpx.AsyncClient(transport=transport, base_url="http://host") as client:
        marked = [NO_RETRY in (await client.get("/")).headers for _ in sent]
    assert marked == [False] * few + [True] * few + [False] * (answers + 1) + [True] + [False] * 20
