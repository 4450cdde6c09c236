"""uvicorn with the gateway's protocol on a real socket. The application answers every request with its path."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from densenet_serving.gateway.protocol import LimitedProtocol, limited_protocol
from densenet_serving.gateway.settings import GatewaySettings

MAX_BODY_BYTES = 100_000
LARGE, PIECES = 2**25, 512
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
GET = b"GET /_%d HTTP/1.1\r\nHost: x\r\n\r\n"


async def echo(scope: Scope, _: Receive, send: Send) -> None:
    body = scope["path"].encode()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def read(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the whole body, and answer with it."""
    body, more = scope["path"].encode() + b" ", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def much(scope: Scope, _: Receive, send: Send) -> None:
    """Answer /large with more than all buffers hold, and other paths as `echo` does."""
    if scope["path"] != "/large":
        await echo(scope, _, send)
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % LARGE)]})
    for _i in range(PIECES):
        await send({"type": "http.response.body", "body": bytes(LARGE // PIECES), "more_body": True})
    await send({"type": "http.response.body"})


class Server:
    def __init__(self, port: int, protocol: type[LimitedProtocol]) -> None:
        self._port = port
        self.protocol = protocol
        self.asked: asyncio.Queue[str] = asyncio.Queue()

    @asynccontextmanager
    async def connect(self, address: str = "127.0.0.1", limit: int = 2**16) -> AsyncIterator[Streams]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, local_addr=(address, 0), limit=limit)
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


@pytest.fixture
async def server(settings: GatewaySettings) -> AsyncIterator[Server]:
    async with running(echo, settings) as started:
        yield started


@pytest.fixture
async def reading(settings: GatewaySettings) -> AsyncIterator[Server]:
    async with running(read, settings) as started:
        yield started


@pytest.fixture
async def large(settings: GatewaySettings) -> AsyncIterator[Server]:
    async with running(much, settings) as started:
        yield started


@pytest.fixture
async def waiting(settings: GatewaySettings) -> AsyncIterator[Server]:
    """A server whose `asked` gets the paths but those of health checks, which alone are answered."""
    asked: asyncio.Queue[str] = asyncio.Queue()

    async def wait(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/healthz":
            await echo(scope, receive, send)
            return
        asked.put_nowait(scope["path"])
        await receive()
        await receive()  # until the client is gone
        asked.put_nowait(f"gone {scope['path']}")

    async with running(wait, settings) as started:
        started.asked = asked
        yield started


@asynccontextmanager
async def running(application: ASGIApp, settings: GatewaySettings) -> AsyncIterator[Server]:
    limits = replace(settings, max_connections=8, max_connections_per_address=4, max_body_bytes=MAX_BODY_BYTES)
    protocol = limited_protocol(limits)
    config = uvicorn.Config(
        application,
        port=0,
        http=protocol,
        ws="none",
        lifespan="off",
        log_level="error",
        timeout_keep_alive=60,
    )
    started = uvicorn.Server(config)
    task = asyncio.create_task(started.serve())
    while not started.started:
        await asyncio.sleep(0.01)
    yield Server(started.servers[0].sockets[0].getsockname()[1], protocol)
    started.should_exit = True
    async with asyncio.timeout(20):
        await task
