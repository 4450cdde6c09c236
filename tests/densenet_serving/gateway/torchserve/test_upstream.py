from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest

from densenet_serving.client.endpoint import Endpoint
from densenet_serving.gateway import clients
from densenet_serving.gateway.answer import JSON, NOT_JSON, PNG, TOO_LARGE, Answer
from densenet_serving.gateway.retry import FORGIVEN, QUIET_SECONDS, TOGETHER_SECONDS
from densenet_serving.gateway.upstream import (
    COUNT_SECONDS,
    LOOK_SECONDS,
    NO_ACCESS,
    NO_WORKERS,
    NOT_RUNNING,
    REFUSED,
    TOO_SLOW,
    WITHOUT_SECONDS,
    Upstream,
    Workers,
)
from tests.densenet_serving.conftest import write_keys
from tests.densenet_serving.gateway.conftest import CAT, MODEL, NO_IMAGE, REFUSED_KEY, WORKER_DIED, Reply, TorchServe

pytestmark = pytest.mark.anyio

DEATHS: list[httpx.Response] = [
    httpx.Response(500, json=WORKER_DIED),
    httpx.Response(507, json={"code": 507, "type": "InternalServerException", "message": "Worker died."}),
]
BROKEN: list[Exception] = [
    httpx.ReadError("reset"),
    httpx.RemoteProtocolError("Server disconnected without sending a response."),
    httpx.WriteError("broken pipe"),
]


@dataclass
class Clock:
    now: float = 0.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def upstream(endpoint: Endpoint, torchserve: TorchServe, clock: Clock) -> AsyncIterator[Upstream]:
    """Of one client's images a second, the workers may decode a quarter."""
    made = Upstream(
        endpoint, MODEL, decode_share=0.25, transport=httpx.MockTransport(torchserve), clock=lambda: clock.now
    )
    yield made
    await made.aclose()


def answered(status: int, content: object) -> Answer:
    return Answer(status, httpx.Response(status, json=content).content)


async def test_an_image_goes_up_and_an_answer_comes_down(upstream: Upstream, torchserve: TorchServe) -> None:
    assert await upstream.predict(b"cat", {"top_k": 3, "min_probability": 0.5}) == answered(200, CAT)

    (asked,) = torchserve.asked
    assert (asked.method, str(asked.url)) == ("POST", f"http://inference/predictions/{MODEL}")
    assert asked.content == b"cat"
    sent = {name: asked.headers[name] for name in ("Authorization", "Content-Type", "Top-K", "Min-Probability")}
    assert sent == {
        "Authorization": "Bearer inf",
        "Content-Type": "application/octet-stream",
        "Top-K": "3",
        "Min-Probability": "0.5",
    }


async def test_explanations_have_an_address_of_their_own(upstream: Upstream, torchserve: TorchServe) -> None:
    png = httpx.Response(200, content=b"png", headers={"Content-Type": "image/png"})
    torchserve.replies = [httpx.Response(200, json=CAT), png]

    assert await upstream.explain(b"cat", {"class_id": "猫", "overlay": 0.5}) == answered(200, CAT)
    assert await upstream.explain(b"cat", {}, PNG) == Answer(200, b"png", PNG)
    first, second = torchserve.asked
    assert (first.url.path, first.content) == (f"/explanations/{MODEL}", b"cat")
    assert [first.headers[name] for name in ("Class-Id", "Overlay", "Accept")] == ["%E7%8C%AB", "0.5", JSON]
    assert second.headers["Accept"] == PNG


OTHER = {"code": 500, "type": "InternalServerException", "message": "Other."}


@pytest.mark.parametrize(
    ("replies", "status", "message"),
    [
        ([httpx.Response(415, json=NO_IMAGE)], 415, NO_IMAGE["message"]),
        ([httpx.Response(500, json=OTHER)], 500, OTHER["message"]),
        ([httpx.Response(413)], 413, TOO_LARGE),
        ([httpx.Response(404, text="<html>")], 404, NOT_JSON),
        ([httpx.Response(200, text="fine")], 502, NOT_JSON),
        ([httpx.ConnectError("refused")], 503, NOT_RUNNING),
        ([httpx.ConnectTimeout("slow")], 503, NOT_RUNNING),
        ([httpx.ReadTimeout("slow")], 504, TOO_SLOW),
        *(([broken] * 2, 503, NOT_RUNNING) for broken in BROKEN),
    ],
)
async def test_every_failure_is_an_answer_and_only_a_broken_connection_is_tried_again(
    upstream: Upstream, torchserve: TorchServe, replies: list[Reply], status: int, message: str
) -> None:
    torchserve.replies = replies.copy()

    answer = await upstream.predict(b"cat", {})

    assert (answer.status, answer.content["code"], answer.message) == (status, status, message)
    assert len(torchserve.asked) == len(replies)


@pytest.mark.parametrize("broken", BROKEN)
async def test_a_connection_that_broke_once_costs_no_photo(
    upstream: Upstream, torchserve: TorchServe, broken: Exception
) -> None:
    torchserve.replies = [broken]
    assert await upstream.predict(b"cat", {}) == answered(200, CAT)


@pytest.mark.parametrize("death", DEATHS)
async def test_a_photo_that_killed_a_worker_by_itself_is_not_tried_again(
    upstream: Upstream, torchserve: TorchServe, death: httpx.Response
) -> None:
    torchserve.replies = [death]

    assert (await upstream.predict(b"cat", {})).status == death.status_code
    assert len(torchserve.asked) == 1


async def together(
    upstream: Upstream, torchserve: TorchServe, death: httpx.Response = DEATHS[0], deaths_of_all: int = 1
) -> list[int]:
    """Ask for three photos at a time, with all of which a worker dies so many times; returns the statuses."""
    gathered = asyncio.Barrier(3)

    async def die(_: httpx.Request) -> httpx.Response:
        await gathered.wait()
        return death

    torchserve.asked.clear()
    torchserve.replies = [*[die] * 3 * deaths_of_all]
    async with asyncio.timeout(5):
        answers = await asyncio.gather(*(upstream.predict(b"cat", {}) for _ in range(3)))
    return [answer.status for answer in answers]


@pytest.mark.parametrize(
    ("death", "deaths_of_all", "status"),
    [*((death, 1, 200) for death in DEATHS), (DEATHS[0], 2, 200), (DEATHS[0], 3, 500)],
)
async def test_photos_that_a_worker_died_with_are_tried_again_and_not_a_third_time(
    upstream: Upstream, torchserve: TorchServe, death: httpx.Response, deaths_of_all: int, status: int
) -> None:
    assert await together(upstream, torchserve, death, deaths_of_all) == [status] * 3
    assert len(torchserve.asked) == 3 * (deaths_of_all + (status == 200))


async def test_some_deaths_a_minute_cost_no_photo_and_the_next_does(
    upstream: Upstream, torchserve: TorchServe, clock: Clock
) -> None:
    for _ in range(FORGIVEN):
        assert await together(upstream, torchserve) == [200] * 3
        clock.now += TOGETHER_SECONDS + 1

    assert await together(upstream, torchserve) == [500] * 3
    assert sum(asked.method == "POST" for asked in torchserve.asked) == 3
    clock.now += QUIET_SECONDS + 1
    assert await together(upstream, torchserve) == [200] * 3


async def test_a_server_that_was_stopped_has_no_tokens(
    upstream: Upstream, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.key_file.unlink()

    assert (await upstream.predict(b"cat", {})).content["message"] == NO_ACCESS
    assert not (await upstream.workers()).ready
    assert str(endpoint.key_file) in caplog.text


async def test_a_refused_token_is_read_anew(upstream: Upstream, torchserve: TorchServe, endpoint: Endpoint) -> None:
    await upstream.predict(b"cat", {})
    write_keys(endpoint.folder, inference="new")
    torchserve.replies = [httpx.Response(400, json=REFUSED_KEY)]

    assert await upstream.predict(b"cat", {}) == answered(200, CAT)
    assert [asked.headers["Authorization"] for asked in torchserve.asked] == ["Bearer inf"] * 2 + ["Bearer new"]


async def test_a_token_refused_twice_is_no_fault_of_the_client(upstream: Upstream, torchserve: TorchServe) -> None:
    torchserve.replies = [httpx.Response(400, json=REFUSED_KEY)] * 2

    answer = await upstream.predict(b"cat", {})

    assert (answer.status, answer.content["message"]) == (503, REFUSED)
    assert "InvalidKey" not in json.dumps(answer.content)


async def test_so_many_images_are_in_flight_and_no_more(endpoint: Endpoint) -> None:
    now, most = 0, 0

    async def slow(_: httpx.Request) -> httpx.Response:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.001)
        now -= 1
        return httpx.Response(200, json=CAT)

    upstream = Upstream(endpoint, MODEL, in_flight=3, transport=httpx.MockTransport(slow))
    answers = await asyncio.gather(*(upstream.predict(b"cat", {}) for _ in range(20)))

    assert answers == [answered(200, CAT)] * 20
    assert most == 3


@pytest.mark.parametrize(
    ("described", "workers"),
    [
        ([{"workers": [{"status": "READY"}]}], Workers(1, 1)),
        ([{"workers": [{"status": "LOADING"}, {"status": "READY"}]}], Workers(1, 2)),
        ([{"workers": [{"status": "READY", "pid": os.getpid()}], "minWorkers": 4}], Workers(1, 4)),
        ([{"workers": [{"status": "READY", "pid": 2**22 + 1}, {"status": "READY", "pid": -1}]}], Workers(0, 2)),
        ([{"workers": [{"status": "LOADING"}]}], Workers(0, 1)),
        ([{"workers": []}], Workers(0, 0)),
        ([], Workers(0, 0)),
    ],
)
async def test_workers_that_are_ready_and_alive(
    upstream: Upstream, torchserve: TorchServe, described: list[object], workers: Workers
) -> None:
    torchserve.described = described

    assert await upstream.workers() == workers
    (asked,) = torchserve.asked
    assert str(asked.url) == f"http://management/models/{MODEL}"
    assert asked.headers["Authorization"] == "Bearer man"


@pytest.mark.parametrize("reply", [httpx.Response(404, json={}), httpx.ReadTimeout("slow"), httpx.ConnectError("no")])
async def test_not_ready(upstream: Upstream, torchserve: TorchServe, reply: httpx.Response | Exception) -> None:
    torchserve.replies = [reply]

    assert not (await upstream.workers()).ready


def workers(ready: int, wanted: int = 4) -> list[object]:
    return [{"workers": [{"status": "READY" if i < ready else "UNLOADING"} for i in range(wanted)]}]


async def test_workers_that_do_not_come_back_cost_a_photo_no_minute(
    upstream: Upstream, torchserve: TorchServe, clock: Clock
) -> None:
    torchserve.described = workers(0)
    await upstream.workers()
    clock.now = WITHOUT_SECONDS
    assert (await upstream.predict(b"cat", {})).ok  # they may be on their way: it waits for them
    clock.now += 1
    refused = await upstream.predict(b"cat", {})
    assert (refused.status, refused.content["message"]) == (503, NO_WORKERS)
    torchserve.described = workers(1)
    clock.now += COUNT_SECONDS
    assert (await upstream.predict(b"cat", {})).ok


async def test_while_photos_come_the_workers_are_counted_again(
    upstream: Upstream, torchserve: TorchServe, clock: Clock
) -> None:
    torchserve.described = workers(4)
    await upstream.predict(b"cat", {})
    assert upstream._slots.share == 1
    clock.now = LOOK_SECONDS + 1.0
    await upstream.predict(b"cat", {})
    assert await upstream.workers() == Workers(4, 4)
    assert upstream._slots.share == 2


async def test_however_many_ask_the_workers_are_counted_once_a_second(
    upstream: Upstream, torchserve: TorchServe, clock: Clock
) -> None:
    await asyncio.gather(*(upstream.workers() for _ in range(250)))
    await upstream.workers()
    assert len(torchserve.asked) == 1
    clock.now += COUNT_SECONDS
    await upstream.workers()
    assert len(torchserve.asked) == 2


def decoded_in(seconds: str) -> httpx.Response:
    return httpx.Response(200, json=CAT, headers={"X-Decode-Seconds": seconds})


@pytest.mark.parametrize("seconds", ["", "soon", "nan", "inf", "-5", "1e999"])
async def test_an_archive_that_does_not_say_how_long_it_decoded(
    upstream: Upstream, torchserve: TorchServe, seconds: str
) -> None:
    for _ in range(3):
        torchserve.replies = [decoded_in(seconds)]
        assert await upstream.predict(b"cat", {}) == answered(200, CAT)


async def test_a_client_whose_images_take_more_than_its_share_waits(
    upstream: Upstream, torchserve: TorchServe, clock: Clock
) -> None:
    torchserve.replies = [decoded_in("1.5")] * 11
    answers = [await upstream.predict(b"cat", {}) for _ in range(12)]
    assert [answer.status for answer in answers] == [200] * 11 + [429]
    assert answers[-1].headers == {"Retry-After": "6"}
    assert "wait 6 s" in answers[-1].message
    assert torchserve.replies == []

    clients.current.set("another")
    assert (await upstream.predict(b"cat", {})).ok
    clients.current.set("")
    clock.now += 6
    assert (await upstream.predict(b"cat", {})).ok
