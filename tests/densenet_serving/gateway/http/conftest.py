"""uvicorn with the gateway's protocol on a real socket."""

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
LARGE_ANSWER = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n"


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the path, /read with its body too, and /large with more than all buffers hold."""
    path = scope["path"].encode()
    body = path + b" " + await whole_body(receive) if path.startswith(b"/read") else path
    pieces = [bytes(LARGE // PIECES)] * PIECES if path == b"/large" else [body]
    length = b"%d" % sum(map(len, pieces))
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body"})


async def whole_body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


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
    async with running(application, settings) as started:
        yield started


@pytest.fixture
async def waiting(settings: GatewaySettings) -> AsyncIterator[Server]:
    """A server whose `asked` gets the paths but those of health checks, which alone are answered."""
    asked: asyncio.Queue[str] = asyncio.Queue()

    async def wait(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/healthz":
            await application(scope, receive, send)
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
        application, port=0, http=protocol, ws="none", lifespan="off", log_level="error", timeout_keep_alive=60
    )
    started = uvicorn.Server(config)
    task = asyncio.create_task(started.serve())
    while not started.started:
        await asyncio.sleep(0.01)
    yield Server(started.servers[0].sockets[0].getsockname()[1], protocol)
    started.should_exit = True
    async with asyncio.timeout(20):
        await task
