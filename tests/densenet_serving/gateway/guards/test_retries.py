from __future__ import annotations

from http import HTTPStatus

import httpx
import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from densenet_serving.gateway.guards.retries import MOST_TOKENS, NO_RETRY, TOKENS_OF_AN_ANSWER, RetryThrottle

pytestmark = pytest.mark.anyio
FULL = Response(status_code=HTTPStatus.SERVICE_UNAVAILABLE, headers={"Retry-After": "1"})
BROKEN = Response(status_code=HTTPStatus.SERVICE_UNAVAILABLE)
ANSWERED = Response()


class Host:
    """What the guard stands before: it gives the next answer of a list."""

    def __init__(self) -> None:
        self.answers: list[Response] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.answers.pop(0)(scope, receive, send)

    async def marked(self, throttle: RetryThrottle, *answers: Response) -> list[bool]:
        self.answers = list(answers)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(throttle), base_url="http://host") as client:
            return [NO_RETRY in (await client.get("/")).headers for _ in answers]


async def test_the_first_refusals_may_be_tried_elsewhere_and_no_more() -> None:
    host = Host()
    throttle = RetryThrottle(host)
    few = int(MOST_TOKENS)
    assert await host.marked(throttle, *[FULL] * 3 * few) == [False] * few + [True] * 2 * few


async def test_answers_allow_a_part_of_the_refusals() -> None:
    host = Host()
    throttle = RetryThrottle(host)
    await host.marked(throttle, *[FULL] * int(MOST_TOKENS))
    answers = round(1 / TOKENS_OF_AN_ANSWER) + 1  # one more, since tenths do not add up exactly

    assert await host.marked(throttle, *[ANSWERED] * answers, FULL, FULL) == [False] * answers + [False, True]


async def test_a_host_that_is_not_full_may_always_be_replaced() -> None:
    host = Host()
    throttle = RetryThrottle(host)
    await host.marked(throttle, *[FULL] * int(MOST_TOKENS))
    assert await host.marked(throttle, *[BROKEN] * 20) == [False] * 20
