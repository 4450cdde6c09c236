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
FORM = b"Host: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
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


def post(body: bytes) -> bytes:
    return b"POST /predict HTTP/1.1\r\n" + FORM + b"Content-Length: %d\r\n\r\n" % len(body) + body


def document(field: bytes) -> bytes:
    body = b'{"instances":[{"b64":"AA=="}],' + field + b"}"
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body


def form(*contents: bytes) -> bytes:
    return b"".join(BOUNDARY + PART + content + b"\r\n" for content in contents) + b"--b--\r\n"


async def at_once(count: int, make: Callable[[], Awaitable[None]]) -> None:
    await asyncio.gather(*(make() for _ in range(count)))


async def headers(attacker: Attacker) -> None:
    """20 connections of 20 MB of headers each."""
    await at_once(20, lambda: attacker.send(b"GET / HTTP/1.1\r\nX: ", b"x" * MEGABYTE, 20))


async def url(attacker: Attacker) -> None:
    """A URL of 150 MB."""
    await attacker.send(b"GET /", b"x" * MEGABYTE, 150)


async def pipelined(attacker: Attacker) -> None:
    """300,000 requests in a row, whose answers nobody reads."""
    await at_once(3, lambda: attacker.send(b"", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000, 100))


async def silent(attacker: Attacker) -> None:
    """20,100 connections that say nothing, or as many as this process may open."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    each = min(SILENT, files - SPARE_FILES) // 100
    await at_once(100, lambda: attacker.hold(each))


async def unfinished(attacker: Attacker) -> None:
    """2,000 requests that stop in the middle of a header."""
    await at_once(2000, lambda: attacker.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nX"))


async def chunked(attacker: Attacker) -> None:
    """1 GB of JSON without a declared length for each of four routes that take none."""
    piece = b"%x\r\n%s\r\n" % (MEGABYTE, b"[" * MEGABYTE)
    heads = [
        b"POST /%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        % path
        for path in (b"healthz", b"docs", b"nothing", b"gradio_api/queue/join")
    ]
    await asyncio.gather(*(attacker.send(head, piece, 1000) for head in heads))


async def slow_uploads(attacker: Attacker) -> None:
    """64 uploads of a byte a second."""
    head = b"POST /predict HTTP/1.1\r\n" + FORM + b"Content-Length: 10000\r\n\r\n" + BOUNDARY + PART
    await at_once(64, lambda: attacker.send(head, b"x", 1000, pause=1))


async def many_files(attacker: Attacker) -> None:
    """2,000 small files in one request, over and over."""
    photo = paths.SAMPLE_PHOTO.read_bytes()
    message = post(form(*[photo[:1000]] * 2000))
    await at_once(4, lambda: attacker.ask(message))


async def large_bodies(attacker: Attacker) -> None:
    """64 bodies of 32 MiB, over and over."""
    message = post(form(bytes(LARGEST)))
    await at_once(64, lambda: attacker.ask(message))


async def allowed_bodies(attacker: Attacker) -> None:
    """64 files of 19 MB, which are no photos, over and over."""
    message = post(form(b"\xff\xd8\xff" + bytes(19 * MEGABYTE)))
    await at_once(64, lambda: attacker.ask(message))


async def greedy(attacker: Attacker) -> None:
    """One client with 64 photos at a time, as fast as they are answered."""
    message = post(form(paths.SAMPLE_PHOTO.read_bytes()))
    await at_once(64, lambda: attacker.ask(message))


async def slow_uploads_of_four(attacker: Attacker) -> None:
    """64 uploads of each of four addresses, faster than the least rate and without an end."""
    head = b"POST /predict HTTP/1.1\r\n" + FORM + b"Content-Length: 10000000\r\n\r\n" + BOUNDARY + PART
    await at_once(256, lambda: attacker.send(head, b"x" * 5000, 1000, pause=1))


async def stopped_bodies(attacker: Attacker) -> None:
    """Two bodies of nearly 32 MiB of each of four addresses, that stop before their end."""
    head = b"POST /predict HTTP/1.1\r\n" + FORM + b"Content-Length: 33500000\r\n\r\n"
    files = b"".join(BOUNDARY + PART + bytes(16 * MEGABYTE) + b"\r\n" for _ in range(2))
    await at_once(8, lambda: attacker.send(head + files))


async def unread(attacker: Attacker) -> None:
    """256 connections of each of four addresses, that ask for as many large answers as they may and read none."""
    request = b"GET /page/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * MAX_PIPELINED
    await at_once(1024, lambda: attacker.send(request))


async def probes(attacker: Attacker) -> None:
    """250 connections that ask whether the gateway is ready, over and over."""
    request = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 8

    async def ask() -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(attacker.left), attacker.connect() as (reader, writer):
                while True:
                    writer.write(request)
                    for _ in range(8):
                        await reader.readuntil(b"}")

    await at_once(250, ask)


async def many_values(attacker: Attacker) -> None:
    """33 MB of JSON with ten million numbers beside its photo, over and over."""
    message = document(b'"x":[%s]' % b",".join([b"99"] * (LARGEST // 3 - 50)))
    await at_once(4, lambda: attacker.ask(message))


async def many_names(attacker: Attacker) -> None:
    """33 MB of JSON with 2.7 million parameters, over and over."""
    names = b",".join(b'"%07d":1' % i for i in range(LARGEST // 12))
    message = document(b'"parameters":{%s}' % names)
    await at_once(4, lambda: attacker.ask(message))


async def many_parts(attacker: Attacker) -> None:
    """A form of 500,000 empty fields, over and over."""
    fields = b"".join(BOUNDARY + b'Content-Disposition: form-data; name="%d"\r\n\r\n\r\n' % i for i in range(500_000))
    message = post(fields + b"--b--\r\n")
    await at_once(4, lambda: attacker.ask(message))


# By name, with the number of addresses from which each comes.
ATTACKS: dict[str, tuple[Callable[[Attacker], Awaitable[None]], int]] = {
    "headers": (headers, 1),
    "url": (url, 1),
    "pipelined": (pipelined, 1),
    "silent": (silent, len(ADDRESSES)),
    "unfinished": (unfinished, FEW_ADDRESSES),
    "chunked": (chunked, 1),
    "slow_uploads": (slow_uploads, 1),
    "many_files": (many_files, 1),
    "large_bodies": (large_bodies, 1),
    "allowed_bodies": (allowed_bodies, 1),
    "greedy": (greedy, 1),
    "slow_uploads_of_four": (slow_uploads_of_four, 4),
    "stopped_bodies": (stopped_bodies, 4),
    "unread": (unread, 4),
    "probes": (probes, 1),
    "many_values": (many_values, 1),
    "many_names": (many_names, 1),
    "many_parts": (many_parts, 1),
}


def main() -> None:
    name, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    attack, addresses = ATTACKS[name]
    print("begun", flush=True)
    attacker = Attacker(port, seconds, addresses)
    asyncio.run(attack(attacker))  # type: ignore[arg-type]
    print(f"{attacker.connected} connections", flush=True)


if __name__ == "__main__":
    main()
