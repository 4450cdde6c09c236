"""uvicorn with the guarded protocol on a real socket; the application answers every request with its path."""

from __future__ import annotations

import asyncio
import json
import logging
import resource
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from web import connections
from web.connections import MAX_HEAD_BYTES, MAX_PIPELINED, Connections, Throttle, room_for
from web.settings import GatewaySettings

pytestmark = pytest.mark.anyio

MAX_BODY_BYTES = 100_000
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
GET = b"GET /_%d HTTP/1.1\r\nHost: x\r\n\r\n"


async def echo(scope: Scope, _: Receive, send: Send) -> None:
    body = scope["path"].encode()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Server:
    def __init__(self, port: int) -> None:
        self._port = port

    @asynccontextmanager
    async def connect(self, address: str = "127.0.0.1") -> AsyncIterator[Streams]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, local_addr=(address, 0))
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    async def ask(self, message: bytes, *, pieces: int = 1) -> bytes:
        """Send a message, return all that comes until the server closes."""
        async with self.connect() as (reader, writer):
            size = len(message) // pieces + 1
            for begin in range(0, len(message), size):
                writer.write(message[begin : begin + size])
                await asyncio.sleep(0.001)
            return await rest(reader)


async def rest(reader: asyncio.StreamReader) -> bytes:
    received = b""
    async with asyncio.timeout(20):
        try:
            while piece := await reader.read(65536):
                received += piece
        except OSError:
            pass  # closed while more was on its way: what came before it counts
    return received


def check_refusal(received: bytes, status: int, fragment: str) -> None:
    head, _, body = received.rpartition(b"\r\n\r\n")
    assert f"HTTP/1.1 {status} ".encode() in head
    error = json.loads(body)
    assert error["code"] == status
    assert fragment in error["message"]


@pytest.fixture
async def server(settings: GatewaySettings) -> AsyncIterator[Server]:
    limits = replace(settings, max_connections=8, max_connections_per_address=4, max_body_bytes=MAX_BODY_BYTES)
    config = uvicorn.Config(
        echo,
        port=0,
        http=connections.guard(limits),
        ws="none",
        lifespan="off",
        log_level="error",
        timeout_keep_alive=60,
    )
    running = uvicorn.Server(config)
    task = asyncio.create_task(running.serve())
    while not running.started:
        await asyncio.sleep(0.01)
    yield Server(running.servers[0].sockets[0].getsockname()[1])
    running.should_exit = True
    async with asyncio.timeout(20):
        await task


async def test_requests_on_one_connection_are_answered(server: Server) -> None:
    async with server.connect() as (reader, writer):
        for i in range(3):
            writer.write(GET % i)
            assert (await reader.readuntil(b"/_%d" % i)).startswith(b"HTTP/1.1 200")


async def test_a_few_pipelined_requests_are_answered_in_order(server: Server) -> None:
    async with server.connect() as (reader, writer):
        writer.write(b"".join(GET % i for i in range(MAX_PIPELINED)))
        for i in range(MAX_PIPELINED):
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n/_%d" % i), 20)


async def test_more_pipelined_requests_end_the_connection(server: Server) -> None:
    received = await server.ask(GET % 1 * 10_000)

    assert received.count(b"HTTP/1.1 200") <= MAX_PIPELINED + 1
    check_refusal(received, 429, f"More than {MAX_PIPELINED} requests wait on this connection")


@pytest.mark.parametrize("pieces", [1, 40])
@pytest.mark.parametrize(
    "message",
    [
        b"GET / HTTP/1.1\r\nX: %s\r\n\r\n" % (b"x" * MAX_HEAD_BYTES),
        b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x" * MAX_HEAD_BYTES),
        b"GET / HTTP/1.1\r\n%s\r\n" % (b"X: x\r\n" * MAX_HEAD_BYTES),
        b"GET / HTTP/1.1\r\nX: %s" % (b"x" * MAX_HEAD_BYTES * 2),  # without an end
    ],
    ids=["header", "url", "headers", "endless"],
)
async def test_a_head_past_the_limit_is_refused(server: Server, message: bytes, pieces: int) -> None:
    check_refusal(await server.ask(message, pieces=pieces), 431, "longer than 16 KiB")


async def test_a_long_head_within_the_limit_is_answered(server: Server) -> None:
    message = b"GET / HTTP/1.1\r\nConnection: close\r\nX: %s\r\n\r\n" % (b"x" * (MAX_HEAD_BYTES - 100))

    assert (await server.ask(message)).startswith(b"HTTP/1.1 200")


async def test_trailers_have_the_same_limit(server: Server) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
    received = await server.ask(head + b"X: %s" % (b"x" * MAX_HEAD_BYTES * 3), pieces=20)

    assert received.startswith(b"HTTP/1.1 200")  # the route answers before
    check_refusal(received, 431, "longer than 16 KiB")


async def test_a_route_whose_connection_was_refused_writes_nothing_more(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    await server.ask(GET % 1 + b"\x16\r\n\r\n")
    await server.ask(GET % 1 * 10_000)

    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_what_is_no_request(server: Server) -> None:
    check_refusal(await server.ask(b"\x16\x03\x01 hello\r\n\r\n"), 400, "no HTTP request that the gateway understands")


async def test_a_head_that_is_too_slow(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.05)

    check_refusal(await server.ask(b"GET / HTTP/1.1\r\nX"), 408, "headers took longer than")
    assert await server.ask(b"") == b""  # a silent connection is closed without a word
    async with server.connect() as (reader, writer):
        writer.write(GET % 1)
        await reader.readuntil(b"/_1")
        writer.write(b"\r\n")  # begins no request, and ends the time for which a connection may rest
        check_refusal(await rest(reader), 408, "headers took longer than")


async def test_a_body_that_nobody_reads_is_swallowed_for_a_while(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    async with server.connect() as (reader, writer):
        writer.write(head % 900)
        await reader.readuntil(b"\r\n\r\n/")
        writer.write(b"x" * 900 + GET % 2)  # its end, and the next request
        assert (await reader.readuntil(b"/_2")).startswith(b"HTTP/1.1 200")

        writer.write(head % (10 * MAX_BODY_BYTES))
        await reader.readuntil(b"\r\n\r\n/")
        writer.write(b"x" * (MAX_BODY_BYTES + 1))  # more than a body may have
        assert await rest(reader) == b""

    monkeypatch.setattr(connections, "SWALLOW_SECONDS", 0.05)
    assert (await server.ask(head % 900)).endswith(b"\r\n\r\n/")


async def test_what_is_swallowed_has_a_rate_of_all_connections_together(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading at full speed what nobody wants takes the processor from those who wait for an answer."""
    sizes: list[int] = []

    def count(_: Throttle, size: int) -> float:
        sizes.append(size)
        return 0

    monkeypatch.setattr(Throttle, "delay", count)
    async with server.connect() as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n/")
        writer.write(b"x" * 50_000 + GET % 2)
        assert (await reader.readuntil(b"/_2")).startswith(b"HTTP/1.1 200")
    assert sum(sizes) == 50_000


def test_a_throttle_spreads_work_over_time() -> None:
    now = 100.0
    throttle = Throttle(10, lambda: now)
    assert [throttle.delay(5), throttle.delay(5)] == [0.5, 1.0]  # whoever asks
    now = 103.0
    assert throttle.delay(1) == pytest.approx(0.1)  # what was not used is not saved up


async def test_an_address_has_its_share_of_connections(server: Server) -> None:
    async with AsyncExitStack() as stack:
        mine = [await stack.enter_async_context(server.connect("127.0.0.2")) for _ in range(6)]
        assert [await rest(reader) for reader, _ in mine[:2]] == [b"", b""]  # the oldest made room
        mine[2][1].write(GET % 2)
        await mine[2][0].readuntil(b"/_2")
        newest = await stack.enter_async_context(server.connect("127.0.0.2"))
        assert await rest(mine[3][0]) == b""  # not the one that was of use just now
        newest[1].write(GET % 3)
        await newest[0].readuntil(b"/_3")

        async with server.connect() as (reader, writer):  # others do not notice
            writer.write(GET % 4)
            await reader.readuntil(b"/_4")


async def test_when_there_are_too_many_the_greediest_address_makes_room(server: Server) -> None:
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(server.connect("127.0.0.2"))
        many = [await stack.enter_async_context(server.connect("127.0.0.3")) for _ in range(4)]
        few = [await stack.enter_async_context(server.connect("127.0.0.4")) for _ in range(3)]
        new = await stack.enter_async_context(server.connect("127.0.0.5"))

        assert await rest(many[0][0]) == b""
        for i, (reader, writer) in enumerate([one, *many[1:], *few, new]):
            writer.write(GET % i)
            await reader.readuntil(b"/_%d" % i)


def test_descriptors_for_the_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    set_to: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: set_to.append(limits))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    assert room_for(1024) == 1024
    assert set_to == [(1280, 4096)]

    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 1024))
    assert room_for(1024) == 1024 - 256
    monkeypatch.setattr(resource, "getrlimit", lambda _: (20000, 20000))
    assert room_for(1024) == 1024
    assert len(set_to) == 2


class Fake:
    """A connection as the table of connections sees it."""

    def __init__(self, address: str, *, idle: bool) -> None:
        self.address = address
        self.idle = idle
        self.closed = False

    def close(self) -> None:
        self.closed = True


def test_if_the_greediest_address_is_busy_the_next_one_makes_room() -> None:
    table = Connections(most=5, most_of_one=4)
    busy = [Fake("busy", idle=False) for _ in range(3)]
    silent = [Fake("silent", idle=True) for _ in range(2)]
    assert all(table.admit(connection) for connection in (*busy, *silent))

    assert table.admit(Fake("good", idle=False))

    assert [connection.closed for connection in (*busy, *silent)] == [False, False, False, True, False]
    assert table.admit(Fake("good", idle=False))
    assert not table.admit(Fake("good", idle=False))  # everybody is busy
