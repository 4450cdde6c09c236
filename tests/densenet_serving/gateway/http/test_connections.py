from __future__ import annotations

import asyncio
import resource
from contextlib import AsyncExitStack

import pytest

from densenet_serving.errors import ServingError
from densenet_serving.gateway import connections
from densenet_serving.gateway.connections import raise_file_limit
from tests.densenet_serving.gateway.http.conftest import GET, LARGE, Server, Streams, rest

pytestmark = pytest.mark.anyio


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


CHECK = b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n"
UNREAD = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n"


async def do_not_read(server: Server, stack: AsyncExitStack, count: int, address: str) -> list[Streams]:
    """Ask for so many answers that fill all buffers, and read only how they begin."""
    asked = []
    for _ in range(count):
        reader, writer = await stack.enter_async_context(server.connect(address, limit=1024))
        writer.write(UNREAD)
        await reader.readuntil(b"\r\n\r\n")
        asked.append((reader, writer))
    return asked


async def test_whoever_does_not_read_makes_room(large: Server) -> None:
    async with AsyncExitStack() as stack:
        for address in ("127.0.0.2", "127.0.0.3"):
            await do_not_read(large, stack, 4, address)

        for _ in range(2):
            reader, writer = await stack.enter_async_context(large.connect())
            writer.write(CHECK % b"healthz")
            assert await reader.readuntil(b"/healthz")


async def test_an_answer_that_is_not_read_ends(large: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "READ_SECONDS", 0.1)
    async with AsyncExitStack() as stack:
        [(reader, _)] = await do_not_read(large, stack, 1, "127.0.0.1")
        await asyncio.sleep(0.3)  # what is not read cannot be waited for
        assert LARGE > len(await rest(reader)) > 0


async def test_an_answer_that_is_read_slowly_arrives(large: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "READ_SECONDS", 0.3)
    async with AsyncExitStack() as stack:
        [(reader, _)] = await do_not_read(large, stack, 1, "127.0.0.1")
        received = 0
        while received < LARGE:
            piece = await reader.read(2**20)
            assert piece
            received += len(piece)
            await asyncio.sleep(0.02)


async def test_if_nobody_makes_room_health_is_still_told(waiting: Server) -> None:
    async with AsyncExitStack() as stack:
        for i in range(8):
            reader, writer = await stack.enter_async_context(waiting.connect(f"127.0.0.{i + 2}"))
            writer.write(GET % i)
            await waiting.asked.get()

        reader, writer = await stack.enter_async_context(waiting.connect())
        writer.write(CHECK % b"healthz")
        assert await reader.readuntil(b"/healthz")
        refused = await waiting.ask(GET % 9)
        assert refused.startswith(b"HTTP/1.1 503")


@pytest.mark.parametrize(
    ("soft", "hard", "connections", "raised"),
    [
        (1024, 4096, 1024, (1280, 4096)),
        (1024, 1024, 768, (1024, 1024)),
        (20000, 20000, 1024, None),
        (64, 320, 64, (320, 320)),
        (64, resource.RLIM_INFINITY, 1024, (1280, resource.RLIM_INFINITY)),
    ],
)
def test_descriptors_for_the_connections(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, connections: int, raised: tuple[int, int] | None
) -> None:
    set_to: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: set_to.append(limits))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    assert raise_file_limit(1024) == connections
    assert set_to == ([raised] if raised else [])


def test_a_limit_that_leaves_hardly_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 256))
    with pytest.raises(ServingError, match=r"320 open files and may have 256"):
        raise_file_limit(1024)
