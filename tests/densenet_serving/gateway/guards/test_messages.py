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
from tests.densenet_serving.gateway.conftest import CAT, TorchServe, loads

pytestmark = pytest.mark.anyio

STRANGER = "https://stranger.example"
LABEL = {name: CAT[name] for name in ("class_id", "class_name")}
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


@pytest.mark.parametrize("address", ["/healthz", "/readyz", "/model", "/openapi.json", "/nothing", *pages.files()])
async def test_head_is_answered_as_get_without_a_body(front: httpx.AsyncClient, address: str) -> None:
    got, head = await front.get(address), await front.head(address)

    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["content-length"] == got.headers["content-length"]
    assert head.headers["content-type"] == got.headers["content-type"]


async def test_head_asks_for_no_prediction(front: httpx.AsyncClient, torchserve: TorchServe) -> None:
    assert (await front.head("/predict")).status_code == 405
    assert torchserve.asked == []


@pytest.mark.parametrize("path", ["/predict/", "/predict//", "///predict"])
async def test_a_slash_too_many_changes_nothing(front: httpx.AsyncClient, path: str) -> None:
    response = await front.post(f"http://127.0.0.1:8000{path}", files={"file": b"cat"})

    assert response.history == []
    assert loads(response) == LABEL
    assert (await front.get("/docs/")).content == (await front.get("/docs")).content


async def test_put_is_post(front: httpx.AsyncClient) -> None:
    """curl -T sends it."""
    assert loads(await front.put("/predict", content=b"cat")) == LABEL
    assert (await front.put("/healthz", content=b"cat")).status_code == 405


class Host:
    """What the guard stands before: it gives the next answer of a list."""

    def __init__(self) -> None:
        self.answers: list[Response] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.answers.pop(0)(scope, receive, send)

    async def marked(self, throttle: AnswerHeaders, *answers: Response) -> list[bool]:
        self.answers = list(answers)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(throttle), base_url="http://host") as client:
            return [NO_RETRY in (await client.get("/")).headers for _ in answers]


async def test_the_first_refusals_may_be_tried_elsewhere_and_no_more() -> None:
    host = Host()
    throttle = AnswerHeaders(host)
    few = int(MOST_TOKENS)
    assert await host.marked(throttle, *[FULL] * 3 * few) == [False] * few + [True] * 2 * few


async def test_answers_allow_a_part_of_the_refusals() -> None:
    host = Host()
    throttle = AnswerHeaders(host)
    await host.marked(throttle, *[FULL] * int(MOST_TOKENS))
    answers = round(1 / TOKENS_OF_AN_ANSWER) + 1  # one more, since tenths do not add up exactly

    assert await host.marked(throttle, *[ANSWERED] * answers, FULL, FULL) == [False] * answers + [False, True]


async def test_a_host_that_is_not_full_may_always_be_replaced() -> None:
    host = Host()
    throttle = AnswerHeaders(host)
    await host.marked(throttle, *[FULL] * int(MOST_TOKENS))
    assert await host.marked(throttle, *[BROKEN] * 20) == [False] * 20
