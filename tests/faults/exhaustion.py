"""What a stranger can do to a gateway with little: `python -m tests.faults.exhaustion NAME PORT SECONDS`.

Each attack comes from other addresses of this machine than 127.0.0.1, goes on for the given seconds and ends. It runs
in a process of its own, so that the clients beside it are slowed by the gateway alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import resource
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from densenet_serving import paths
from densenet_serving.gateway.protocol import MAX_PIPELINED
from densenet_serving.gateway.settings import GatewaySettings

ADDRESSES = [f"127.0.0.{i}" for i in range(2, 82)]  # each has fewer connections than one address may have
FEW_ADDRESSES = 8
SILENT = 20_100
SPARE_FILES = 100  # descriptors for the interpreter
MEGABYTE = 10**6
LARGEST = GatewaySettings.max_body_bytes - 1000
BOUNDARY = b"--b\r\n"
HOST = b"Host: localhost\r\n"
UPLOAD = (
    b"POST /predict HTTP/1.1\r\n"
    + HOST
    + b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: %d\r\n\r\n"
)
PART = b'Content-Disposition: form-data; name="file"; filename="x"\r\n\r\n'


class Attacker:
    """Connections to one gateway until a deadline; `addresses` are used in turn."""

    def __init__(self, port: int, seconds: float, addresses: int) -> None:
        self._port = port
        self._until = time.monotonic() + seconds
        self._addresses = itertools.cycle(ADDRESSES[:addresses])
        self.connected = 0

    @property
    def left(self) -> float:
        return max(0.0, self._until - time.monotonic())

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self._port, local_addr=(next(self._addresses), 0), limit=2**16
        )
        self.connected += 1
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    async def send(self, head: bytes, piece: bytes = b"", count: int = 0, pause: float = 0) -> None:
        """Send a head and then a piece so many times, not faster than it is taken, and hold the connection."""
        with contextlib.suppress(OSError, TimeoutError):  # the gateway closes it: that is what is hoped for
            async with asyncio.timeout(self.left), self.connect() as (_, writer):
                writer.write(head)
                for _ in range(count):
                    writer.write(piece)
                    await writer.drain()
                    if pause:
                        await asyncio.sleep(pause)
                await asyncio.sleep(self.left)

    async def sends(self, times: int, head: bytes, piece: bytes = b"", count: int = 0, pause: float = 0) -> None:
        await asyncio.gather(*(self.send(head, piece, count, pause) for _ in range(times)))

    async def hold(self, count: int) -> None:
        """Open connections one after another, say nothing, and keep them."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.left), contextlib.AsyncExitStack() as stack:
                for _ in range(count):
                    with contextlib.suppress(OSError):
                        await stack.enter_async_context(self.connect())
                await asyncio.sleep(self.left)

    async def ask(self, message: bytes) -> None:
        """Send a request and read its answer, over and over, each on a connection of its own."""
        while self.left:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(self.left), self.connect() as (reader, writer):
                    for begin in range(0, len(message), MEGABYTE):
                        writer.write(message[begin : begin + MEGABYTE])
                        await writer.drain()
                    await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(0.01)

    async def asks(self, times: int, message: bytes) -> None:
        await asyncio.gather(*(self.ask(message) for _ in range(times)))


def document(field: bytes) -> bytes:
    body = b'{"instances":[{"b64":"AA=="}],' + field + b"}"
    head = b"POST /predict HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body


def form(*contents: bytes, part: bytes = PART) -> bytes:
    body = b"".join(BOUNDARY + part + content + b"\r\n" for content in contents) + b"--b--\r\n"
    return UPLOAD % len(body) + body


async def silent(attacker: Attacker) -> None:
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    each = min(SILENT, files - SPARE_FILES) // 100
    await asyncio.gather(*(attacker.hold(each) for _ in range(100)))


async def chunked(attacker: Attacker) -> None:
    piece = b"%x\r\n%s\r\n" % (MEGABYTE, b"[" * MEGABYTE)
    head = b"POST /%s HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    paths = (b"healthz", b"docs", b"nothing", b"gradio_api/queue/join")
    await asyncio.gather(*(attacker.send(head % path, piece, 1000) for path in paths))


async def probe(attacker: Attacker) -> None:
    request = b"GET /readyz HTTP/1.1\r\n" + HOST + b"\r\n"
    with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
        async with asyncio.timeout(attacker.left), attacker.connect() as (reader, writer):
            while True:
                writer.write(request * 8)
                for _ in range(8):
                    await reader.readuntil(b"}")


def sample() -> bytes:
    return paths.SAMPLE_PHOTO.read_bytes()


# By name, with the number of addresses from which each comes. "Over and over" is as fast as it is answered.
ATTACKS: dict[str, tuple[int, Callable[[Attacker], Awaitable[object]]]] = {
    # 20 connections of 20 MB of headers each.
    "headers": (1, lambda one: one.sends(20, b"GET / HTTP/1.1\r\nX: ", b"x" * MEGABYTE, 20)),
    # A URL of 150 MB.
    "url": (1, lambda one: one.send(b"GET /", b"x" * MEGABYTE, 150)),
    # 300,000 requests in a row, whose answers nobody reads.
    "pipelined": (1, lambda one: one.sends(3, b"", (b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n") * 1000, 100)),
    # 20,100 connections that say nothing, or as many as this process may open.
    "silent": (len(ADDRESSES), silent),
    # 2,000 requests that stop in the middle of a header.
    "unfinished": (FEW_ADDRESSES, lambda one: one.sends(2000, b"GET / HTTP/1.1\r\n" + HOST + b"X")),
    # 1 GB of JSON without a declared length for each of four routes that take none.
    "chunked": (1, chunked),
    # 64 uploads of a byte a second.
    "slow_uploads": (1, lambda one: one.sends(64, UPLOAD % 10**4 + BOUNDARY + PART, b"x", 1000, pause=1)),
    # 2,000 small files in one request, over and over.
    "many_files": (1, lambda one: one.asks(4, form(*[sample()[:1000]] * 2000))),
    # 64 bodies of 32 MiB, over and over.
    "large_bodies": (1, lambda one: one.asks(64, form(bytes(LARGEST)))),
    # 64 files of 19 MB, which are no photos, over and over.
    "allowed_bodies": (1, lambda one: one.asks(64, form(b"\xff\xd8\xff" + bytes(19 * MEGABYTE)))),
    # One client with 64 photos at a time, over and over.
    "greedy": (1, lambda one: one.asks(64, form(sample()))),
    # 64 uploads of each of four addresses, faster than the least rate and without an end.
    "slow_uploads_of_four": (
        4,
        lambda one: one.sends(256, UPLOAD % 10**7 + BOUNDARY + PART, b"x" * 5000, 1000, pause=1),
    ),
    # Two bodies of nearly 32 MiB of each of four addresses, that stop before their end.
    "stopped_bodies": (
        4,
        lambda one: one.sends(8, UPLOAD % 33_500_000 + (BOUNDARY + PART + bytes(16 * MEGABYTE) + b"\r\n") * 2),
    ),
    # 256 connections of each of four addresses, that ask for as many large answers as they may and read none.
    "unread": (
        4,
        lambda one: one.sends(1024, (b"GET /page/swagger-ui-bundle.js HTTP/1.1\r\n" + HOST + b"\r\n") * MAX_PIPELINED),
    ),
    # 250 connections that ask whether the gateway is ready, over and over.
    "probes": (1, lambda one: asyncio.gather(*(probe(one) for _ in range(250)))),
    # 33 MB of JSON with ten million numbers beside its photo, over and over.
    "many_values": (1, lambda one: one.asks(4, document(b'"x":[%s]' % b",".join([b"99"] * (LARGEST // 3 - 50))))),
    # 33 MB of JSON with 2.7 million parameters, over and over.
    "many_names": (
        1,
        lambda one: one.asks(
            4, document(b'"parameters":{%s}' % b",".join(b'"%07d":1' % i for i in range(LARGEST // 12)))
        ),
    ),
    # A form of 500,000 empty fields, over and over.
    "many_parts": (
        1,
        lambda one: one.asks(
            4,
            form(*(b'name="%d"\r\n\r\n' % i for i in range(500_000)), part=b"Content-Disposition: form-data; "),
        ),
    ),
}


async def until_its_end(attack: Callable[[Attacker], Awaitable[object]], attacker: Attacker) -> None:
    await attack(attacker)


def main() -> None:
    name, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    addresses, attack = ATTACKS[name]
    print("begun", flush=True)
    attacker = Attacker(port, seconds, addresses)
    asyncio.run(until_its_end(attack, attacker))
    print(f"{attacker.connected} connections", flush=True)


if __name__ == "__main__":
    main()
