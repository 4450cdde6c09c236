from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable

import pytest

from densenet_serving.gateway import protocol
from densenet_serving.gateway.clients import Share, Turns
from densenet_serving.gateway.protocol import MAX_HEAD_BYTES, MAX_PIPELINED
from tests.densenet_serving.gateway.http.conftest import GET, MAX_BODY_BYTES, Server, rest

pytestmark = pytest.mark.anyio


def check_refusal(received: bytes, status: int, fragment: str) -> None:
    head, _, body = received.rpartition(b"\r\n\r\n")
    assert f"HTTP/1.1 {status} ".encode() in head
    error = json.loads(body)
    assert error["code"] == status
    assert fragment in error["message"]


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
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.05)

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

    monkeypatch.setattr(protocol, "DISCARD_SECONDS", 0.05)
    assert (await server.ask(head % 900)).endswith(b"\r\n\r\n/")


async def test_what_a_client_sends_waits_for_its_turn_and_no_more_is_read(
    reading: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Waiting(Turns):
        def __init__(self) -> None:
            self.pieces: asyncio.Queue[tuple[str, Callable[[], None]]] = asyncio.Queue()

        def add(self, client: str, work: Callable[[], None]) -> None:
            self.pieces.put_nowait((client, work))

    turns = Waiting()
    monkeypatch.setattr(reading.protocol, "turns", turns)
    async with reading.connect("127.0.0.2") as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n" + bytes(2_000_000))
        answer = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
        most = 0
        while not answer.done():
            client, work = await turns.pieces.get()
            most = max(most, turns.pieces.qsize())
            assert client == "127.0.0.2"
            work()
            await asyncio.wait([answer], timeout=0 if turns.pieces.qsize() else 0.01)
    assert most <= 1  # a piece, and the start of the request


UPGRADES = (b"h2c", b"websocket")
UPGRADE = b"Connection: Upgrade, HTTP2-Settings%s\r\nHTTP2-Settings: AAMAAABk\r\nUpgrade: %s\r\n"


@pytest.mark.parametrize("upgrade", UPGRADES)
@pytest.mark.parametrize("pieces", [1, 7, 60])
@pytest.mark.parametrize(
    "body", [b"Content-Length: 5\r\n\r\nphoto", b"Transfer-Encoding: chunked\r\n\r\n5\r\nphoto\r\n0\r\n\r\n"]
)
async def test_a_wish_for_another_protocol_is_ignored(
    reading: Server, upgrade: bytes, pieces: int, body: bytes
) -> None:
    """Java's HttpClient asks for HTTP/2 in its first request, and curl --http2 does."""
    head = b"POST /p HTTP/1.1\r\nHost: x\r\n"
    last = head + UPGRADE % (b", close", upgrade) + body
    received = await reading.ask(head + UPGRADE % (b"", upgrade) + body + GET % 2 + last, pieces=pieces)

    answers = received.split(b"HTTP/1.1 200")[1:]
    assert [answer.partition(b"\r\n\r\n")[2] for answer in answers] == [b"/p photo", b"/_2 ", b"/p photo"]
    assert b"upgrade" not in received


async def test_a_tunnel_is_not_served(server: Server) -> None:
    check_refusal(await server.ask(b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n"), 400, "no HTTP request")


async def test_a_client_that_waits_for_100_is_told_to_go_on(reading: Server) -> None:
    async with reading.connect() as (reader, writer):
        writer.write(b"POST /p HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        writer.write(b"photo")
        assert (await reader.readuntil(b"/p photo")).startswith(b"HTTP/1.1 200")


async def test_a_route_learns_that_its_client_is_gone_though_another_request_waits(waiting: Server) -> None:
    async with waiting.connect() as (_, writer):
        writer.write(GET % 1 + GET % 2)
        assert await waiting.asked.get() == "/_1"
    assert await waiting.asked.get() == "gone /_1"


async def test_a_request_begins_when_the_answer_before_it_is_read(large: Server) -> None:
    async with large.connect(limit=1024) as (reader, writer):
        writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n" + GET % 2)
        await reader.readuntil(b"\r\n\r\n")
        received = b""
        while not received.endswith(b"/_2"):
            received = received[-200:] + await reader.read(2**20)


async def test_a_flood_of_one_address_waits_and_others_do_not(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.protocol, "requests", Share(0.001, 1))
    async with server.connect("127.0.0.2") as (reader, writer), server.connect() as (of_another, another):
        writer.write(b"".join(GET % i for i in range(MAX_PIPELINED)))
        another.write(GET % 9)
        await of_another.readuntil(b"/_9")
        await reader.readuntil(b"/_1")
        assert len(server.protocol.requests._used) == 2
        assert server.protocol.requests.wait("127.0.0.2") > 100
