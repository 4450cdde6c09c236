from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.types import Message, Receive, Scope, Send

from densenet_serving.gateway import bodies, budget, clients
from densenet_serving.gateway.bodies import Bodies
from densenet_serving.gateway.errors import Busy, RequestTimeout
from densenet_serving.gateway.settings import GatewaySettings
from handler.errors import PayloadTooLarge, RequestError

pytestmark = pytest.mark.anyio


class Route:
    """A route that reads its whole body and answers when it is told to."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.errors: list[RequestError] = []
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, _: Scope, receive: Receive, __: Send) -> None:
        size, more = 0, True
        try:
            while more:
                message = await receive()
                size += len(message["body"])
                more = message["more_body"]
            self.sizes.append(size)
            await self.go.wait()
        except RequestError as error:
            self.errors.append(error)


class Sender:
    """A client whose body arrives in pieces, and counts those that were taken; None is one that never comes."""

    def __init__(self, pieces: Iterable[bytes | None], **headers: str) -> None:
        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        self.scope: Scope = {"type": "http", "method": "POST", "path": "/", "headers": raw}
        self.sent: list[Message] = []
        self.taken = 0
        self._pieces = iter(pieces)

    async def receive(self) -> Message:
        piece = next(self._pieces, b"")
        if piece is None:
            await asyncio.get_running_loop().create_future()
        self.taken += 1
        return {"type": "http.request", "body": piece, "more_body": piece != b""}

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def to(self, application: Bodies) -> None:
        async with asyncio.timeout(20):
            await application(self.scope, self.receive, self.send)


@pytest.fixture
def route() -> Route:
    return Route()


@pytest.fixture
def make(route: Route, settings: GatewaySettings) -> Callable[..., Bodies]:
    return lambda **changes: Bodies(route, replace(settings, **changes))


async def test_a_body_passes_as_it_is(route: Route, make: Callable[..., Bodies]) -> None:
    await Sender([b"x" * 400, b"y" * 600]).to(make())
    await Sender([]).to(make())

    assert route.sizes == [1000, 0]


async def test_a_declared_length_past_the_limit_is_refused_unread(route: Route, make: Callable[..., Bodies]) -> None:
    sender = Sender([b"x"], content_length="1001")
    await sender.to(make())

    assert sender.sent[0]["status"] == 413
    assert b"The request is larger than" in sender.sent[1]["body"]
    assert (sender.taken, route.sizes, route.errors) == (0, [], [])


async def test_an_undeclared_length_is_refused_as_soon_as_it_is_too_long(
    route: Route, make: Callable[..., Bodies]
) -> None:
    sender = Sender([b"x" * 100] * 1000)
    await sender.to(make())

    assert [type(error) for error in route.errors] == [PayloadTooLarge]
    assert sender.taken == 11


async def test_an_upload_that_takes_too_long(route: Route, make: Callable[..., Bodies]) -> None:
    await Sender([b"x", None]).to(make(upload_seconds=0.01))

    assert [type(error) for error in route.errors] == [RequestTimeout]
    assert "took longer than 0.01 s" in str(route.errors[0])


async def test_an_upload_below_the_least_rate(
    route: Route, make: Callable[..., Bodies], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "GRACE_SECONDS", 0.01)
    await Sender([b"x", None]).to(make(min_upload_rate=1000.0))
    await Sender([b"x" * 900, b"y" * 100]).to(make(min_upload_rate=1000.0))

    assert [type(error) for error in route.errors] == [RequestTimeout]
    assert "less than 1 kB/s" in str(route.errors[0])
    assert route.sizes == [1000]


@pytest.fixture
def hold_bytes(route: Route, make: Callable[..., Bodies]) -> Bodies:
    return make(max_held_bytes=1500, max_held_bytes_per_client=1000)


async def begin(sender: Sender, application: Bodies, client: str) -> asyncio.Task[None]:
    """Let a client send all that it has, and wait for the rest or for its answer."""
    clients.current.set(client)
    task = asyncio.create_task(sender.to(application))
    for _ in range(20):
        await asyncio.sleep(0)
    return task


async def test_so_many_bytes_of_one_client_are_held_until_they_are_answered(route: Route, hold_bytes: Bodies) -> None:
    route.go.clear()
    first = await begin(Sender([b"x" * 900]), hold_bytes, "a")
    await (await begin(Sender([b"x" * 100, b"y"]), hold_bytes, "a"))
    assert [type(error) for error in route.errors] == [Busy]
    assert route.errors[0].retry_after == 1

    route.go.set()
    await first
    await (await begin(Sender([b"x" * 1000]), hold_bytes, "a"))
    assert route.sizes == [900, 1000]


async def test_of_too_many_bytes_the_client_with_the_most_makes_room(route: Route, hold_bytes: Bodies) -> None:
    slow = Sender([b"x" * 900, None])
    made_room = await begin(slow, hold_bytes, "a")
    await (await begin(Sender([b"x" * 601]), hold_bytes, "b"))
    await made_room

    assert (slow.sent[0]["status"], route.sizes) == (503, [601])
    assert b"this was the slowest request of the client with the most" in slow.sent[1]["body"]


@pytest.mark.parametrize("attackers", [1, 4])
async def test_uploads_that_do_not_end_leave_places_to_others(
    route: Route, make: Callable[..., Bodies], attackers: int
) -> None:
    application = make(max_requests=8, max_requests_per_client=8)
    slow = [Sender([b"x", None]) for _ in range(8)]
    tasks = [await begin(one, application, f"attacker {i % attackers}") for i, one in enumerate(slow)]

    await (await begin(Sender([b"photo"]), application, "good"))

    assert route.sizes == [5]
    assert [one.sent[0]["status"] for one in slow if one.sent] == [503]
    for task in tasks:
        task.cancel()


async def test_a_request_that_torchserve_works_for_does_not_make_room() -> None:
    go = asyncio.Event()

    async def route(_: Scope, receive: Receive, __: Send) -> None:
        await receive()
        with budget.in_use():
            await go.wait()

    application = Bodies(route, replace(GatewaySettings(Path(), ""), max_requests=2))
    first = [await begin(Sender([b""]), application, "a") for _ in range(2)]
    refused = Sender([b""])
    await (await begin(refused, application, "b"))
    assert refused.sent[0]["status"] == 503

    go.set()
    await asyncio.gather(*first)


async def test_who_does_not_read_the_answer_loses_the_connection() -> None:
    aborted = asyncio.Event()

    async def route(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if clients.current.get() == "a":
            await aborted.wait()

    application = Bodies(route, replace(GatewaySettings(Path(), ""), max_requests=2))
    unread = [Sender([b""]) for _ in range(2)]
    for one in unread:
        one.scope["state"] = {"abort": aborted.set}
    tasks = [await begin(one, application, "a") for one in unread]
    good = Sender([b""])
    await (await begin(good, application, "b"))

    assert [message["status"] for message in good.sent] == [200]
    assert aborted.is_set()
    await asyncio.gather(*tasks)


async def test_a_timeout_of_the_route_is_its_own() -> None:
    async def route(_: Scope, __: Receive, ___: Send) -> None:
        raise TimeoutError("a bug")

    with pytest.raises(TimeoutError, match="a bug"):
        await Sender([b""]).to(Bodies(route, GatewaySettings(Path(), "")))
