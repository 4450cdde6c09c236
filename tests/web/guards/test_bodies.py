from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
from starlette.types import Message, Receive, Scope, Send

from web.errors import GatewayError, PayloadTooLarge, RequestTimeout, ServiceUnavailable
from web.guards import bodies
from web.guards.bodies import Bodies
from web.limits import clients
from web.settings import GatewaySettings

pytestmark = pytest.mark.anyio


class Route:
    """A route that reads its whole body and answers when it is told to."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.errors: list[GatewayError] = []
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
        except GatewayError as error:
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


async def test_so_many_bytes_are_held_until_they_are_answered(route: Route, make: Callable[..., Bodies]) -> None:
    application = make(max_held_bytes=1500, max_held_bytes_per_client=1000)
    route.go.clear()
    clients.current.set("a")
    first = asyncio.create_task(Sender([b"x" * 900]).to(application))
    while not route.sizes:
        await asyncio.sleep(0)
    await Sender([b"x" * 100, b"y"]).to(application)  # more than its own
    clients.current.set("b")
    await Sender([b"x" * 600, b"y"]).to(application)  # more than all together
    assert [type(error) for error in route.errors] == [ServiceUnavailable] * 2
    assert route.errors[0].headers == {"Retry-After": "1"}

    route.go.set()
    await first
    await Sender([b"x" * 1000]).to(application)
    assert route.sizes == [900, 1000]
