from __future__ import annotations

import resource
from contextlib import AsyncExitStack

import pytest

from scripts.errors import ServingError
from tests.web.http.conftest import GET, Server, rest
from web.http.connections import Connections, check_room, room_for

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


def test_a_limit_that_leaves_hardly_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 256))
    with pytest.raises(ServingError, match=r"needs 320 open files and may have 256: raise the hard limit"):
        check_room()
    for hard in (320, resource.RLIM_INFINITY):
        monkeypatch.setattr(resource, "getrlimit", lambda _, hard=hard: (64, hard))
        check_room()


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
