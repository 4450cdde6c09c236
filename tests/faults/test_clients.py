"""Clients that are slow or break the protocol disturb nobody else."""

from __future__ import annotations

import itertools
import re
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from typing import Any

import pytest

from densenet_serving.client.http import Client
from tests.faults.conftest import workers
from tests.faults.load import Target, closed_loop, repeatedly, seconds_of, statuses

MANY = 40
REQUESTS = 24
# Within one run: a machine shared with others makes any request wait a little, a blocked server all of them for ever.
GENEROUS = 3.0
STATUS_LINE = b"HTTP/1.1 "


def connect(target: Target) -> socket.socket:
    return socket.create_connection(target.address, timeout=20)


def read_status_lines(connection: socket.socket, count: int = 1) -> list[bytes]:
    """Read so many answers, or until the server closes or sends nothing for a second; returns how each begins."""
    connection.settimeout(1)
    received = b""
    with suppress(TimeoutError, ConnectionResetError):
        while received.count(STATUS_LINE) < count and (chunk := connection.recv(65536)):
            received += chunk
    return re.findall(STATUS_LINE + rb"\d+", received)


@contextmanager
def a_byte_a_second(target: Target, photo: bytes) -> Iterator[None]:
    """Send the headers and then a byte a second, on many connections, as long as the others are measured."""
    message = target.message(photo)
    positions = itertools.count(MANY * 10)
    with ExitStack() as stack:
        slow = [stack.enter_context(connect(target)) for _ in range(MANY)]
        for i, connection in enumerate(slow):
            connection.sendall(message[: i * 10])  # some have not even finished their first line

        def drip() -> None:
            position = next(positions)
            for connection in slow:
                connection.sendall(message[position : position + 1])

        with repeatedly(drip, seconds=1):
            yield


def hang_ups(target: Target, photo: bytes) -> AbstractContextManager[None]:
    """Announce a photo, send half of it and go, over and over."""
    half = target.message(photo)[: -len(photo) // 2]
    return repeatedly(lambda: send_and_go(target, half))


def lost_interest(target: Target, photo: bytes) -> AbstractContextManager[None]:
    """Send a whole request and go without waiting for its answer, ten times."""
    for _ in range(10):
        send_and_go(target, target.message(photo))
    return nullcontext()


@contextmanager
def too_long_a_length(target: Target, photo: bytes) -> Iterator[None]:
    """Announce more bytes than ever come."""
    with ExitStack() as stack:
        for _ in range(MANY):
            stack.enter_context(connect(target)).sendall(target.message(photo, len(photo) + 1000))
        yield


def too_short_a_length(target: Target, photo: bytes) -> AbstractContextManager[None]:
    """Announce fewer bytes than come: the rest looks like another request, and like nonsense."""
    return repeatedly(lambda: send_and_go(target, target.message(photo, 100)))


def send_and_go(target: Target, message: bytes) -> None:
    with connect(target) as connection:
        connection.sendall(message)


def median_beside(target: Target, photo: bytes) -> float:
    """Ask as an ordinary client does; returns the median time of an answer, all of which must be good."""
    answers = closed_loop(lambda: target.ask(photo), 4, count=REQUESTS)
    assert statuses(answers) == {200: REQUESTS}
    return statistics.median(seconds_of(answers))


@pytest.mark.parametrize("clients", [a_byte_a_second, hang_ups, lost_interest, too_long_a_length, too_short_a_length])
def test_others_are_not_slowed(
    clients: Callable[[Target, bytes], AbstractContextManager[None]],
    target: Target,
    photo: bytes,
    client: Client,
    record_property: Any,
) -> None:
    pids = workers(client)
    alone = median_beside(target, photo)

    with clients(target, photo):
        beside = median_beside(target, photo)

    record_property("median alone, beside", (alone, beside))
    assert beside < alone * GENEROUS
    assert workers(client) == pids


def in_pieces(message: bytes) -> list[bytes]:
    return [message[:30], message[30:-100], message[-100:-1], message[-1:]]


@pytest.mark.parametrize(
    ("pieces", "length", "statuses"),
    [
        (in_pieces, None, [200]),
        (lambda message: [message * 3], None, [200] * 3),
        (lambda message: [message], 100, [400]),
    ],
    ids=["in pieces", "pipelined", "cut by its length"],
)
def test_what_is_sent_unusually_is_answered(
    target: Target, photo: bytes, pieces: Callable[[bytes], list[bytes]], length: int | None, statuses: list[int]
) -> None:
    with connect(target) as connection:
        for piece in pieces(target.message(photo, length)):
            connection.sendall(piece)
            time.sleep(0.2)
        assert read_status_lines(connection, len(statuses)) == [STATUS_LINE + b"%d" % status for status in statuses]
