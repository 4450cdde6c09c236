"""A client's connection over uvicorn's: how many there may be, and how long each may be silent or leave answers unread.

uvicorn's own class has no such limits. These hold before any route or API key.
"""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from densenet_serving.errors import ServingError
from densenet_serving.gateway.budget import BUSY, IDLE, WAITING, Budget, Pace
from densenet_serving.gateway.clients import Share, Turns, network_of
from densenet_serving.gateway.errors import error_body

HEAD_SECONDS = 10
# If a request is answered before its body was read, the rest is read and dropped: closing at once would reset the
# connection and destroy the answer. It is read for so long, and at one rate for all connections together, since it
# takes time from the others.
DISCARD_SECONDS = 10
DISCARD_RATE = 50e6  # bytes a second
EVERYBODY = ""
CLOSE_SECONDS = 5  # for the client to read what was written
READ_SECONDS = 10  # in which the client has to read its least rate of an answer that is longer than the buffers
SEND_BUFFER_BYTES = 131_072
# If no connection makes room, so many more are taken that may only ask whether the gateway lives: a supervisor would
# otherwise restart one that is merely full.
RESERVE, RESERVE_OF_ONE = 32, 4
# File descriptors for the connections to TorchServe, the log, the listening socket and the interpreter.
SPARE_FILES = 256
FEWEST = 64  # a browser alone takes several

HEAD_TOO_SLOW = f"The request's headers took longer than {HEAD_SECONDS} s: send it again."


class Refusal(Exception):
    """An answer to bytes that never became a request; a callback of the parser raises it to end the parsing."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status

    def response(self) -> bytes:
        """Build the whole HTTP response, after which the connection is closed."""
        content = error_body(self.status, str(self))
        headers = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(content)
        return STATUS_LINE[self.status] + headers + content


class LimitedConnection(HttpToolsProtocol):
    """One connection. Those of one server share the attributes of the class."""

    table: Budget
    reserve: Budget
    requests: Share
    turns: Turns
    discards: Share
    max_body_bytes: int
    min_read_rate: float

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.owner = ""  # the client's address
        self.in_reserve = False
        self.over = False  # it was refused
        self.upload = Pace()
        self.running: RequestResponseCycle | None = None  # the one being answered; self.cycle is the last one parsed
        # Begins the next request once the answers before it are read.
        self.begin_next: Callable[[], None] | None = None
        # Bytes since the last complete head or the last piece of a body. Trailers count too.
        self.pending_bytes = 0
        self.discarded_bytes = 0  # of the last request's body
        self._timer: asyncio.TimerHandle | None = None
        self._reading: Pace | None = None  # of a client that has yet to read so much that the gateway waits
        self._reading_timer: asyncio.TimerHandle | None = None
        self._unread_bytes = 0  # when `_reading` began

    @property
    def idle(self) -> bool:
        """Whether every request on it has been answered or refused."""
        return self.over or self.cycle is None or (self.cycle.response_complete and not self.pipeline)

    @property
    def pace(self) -> float:
        if self._reading:
            self._reading.size = self._unread_bytes - self.transport.get_write_buffer_size()
            return self._reading.rate
        if self.idle:
            return IDLE
        return self.upload.rate if self.cycle.more_body else WAITING

    def make_room(self) -> None:
        self.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # Otherwise the system takes megabytes for each client that does not read, and copying them stops the others.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self.owner = network_of(self.client[0]) if self.client else ""
        self.in_reserve = not self.table.try_take(self)
        if self.in_reserve and not self.reserve.try_take(self):
            transport.write(Refusal(HTTPStatus.SERVICE_UNAVAILABLE, BUSY).response())
            self._end()
        else:
            self.arm(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        for budget in (self.table, self.reserve):
            budget.give_back(self)
        self.disarm()
        self._disconnect()
        self.begin_next = None
        self.resume_writing()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        if self._reading_timer is not None:
            self._reading_timer.cancel()
        self._reading = self._reading_timer = None
        super().resume_writing()
        if self.begin_next is not None:
            self.turns.add(self.owner, self.begin_next)
            self.begin_next = None

    def _watch_reader(self) -> None:
        self._reading, self._unread_bytes = Pace(), self.transport.get_write_buffer_size()
        self._reading_timer = self.loop.call_later(READ_SECONDS, self._check_reader)

    def _check_reader(self) -> None:
        """Close the connection if its client read less in READ_SECONDS than the least rate allows."""
        read = self._unread_bytes - self.transport.get_write_buffer_size()
        if read < self.min_read_rate * READ_SECONDS:
            self.abort()
        else:
            self._watch_reader()

    def timeout_keep_alive_handler(self) -> None:
        if self._reading:  # the last answer is still on its way
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        else:
            self._end()

    def read_on(self) -> None:
        """Read more, later if what was read is dropped."""
        if self.discarded_bytes:
            self.loop.call_later(self.discards.wait(EVERYBODY), self._read)
        else:
            self._read()

    def _read(self) -> None:
        if not self.transport.is_closing() and not self.flow.read_paused:
            self.transport.resume_reading()

    def refuse(self, refusal: Refusal) -> None:
        """Answer, end the writing side, and drop what still comes: closing at once would destroy the answer."""
        if self.transport.is_closing() or self.over:
            return
        self.over, self.discarded_bytes = True, 0
        self._unset_keepalive_if_required()
        self.pipeline.clear()
        self._disconnect()
        self.transport.write(refusal.response())
        self.transport.write_eof()
        self.flow.resume_reading()
        self.disarm()
        self._timer = self.loop.call_later(CLOSE_SECONDS, self.abort)

    def discard(self, size: int) -> None:
        """Count bytes that nobody wants."""
        self.discarded_bytes += size
        self.discards.spend(EVERYBODY, size)
        if self.discarded_bytes > self.max_body_bytes:
            self._end()

    def abort(self) -> None:
        self._disconnect()
        self.transport.abort()

    def _disconnect(self) -> None:
        """Tell the route that its client is gone, so that what it still writes is dropped.

        uvicorn tells the route of the request that was parsed last, which may wait for this one.
        """
        if self.running is not None and not self.running.response_complete:
            self.running.disconnected = True
            self.running.message_event.set()

    def _end(self) -> None:
        """Close, after CLOSE_SECONDS even if the client has not read what was written."""
        self.disarm()
        self.transport.close()
        self._timer = self.loop.call_later(CLOSE_SECONDS, self.abort)

    @property
    def armed(self) -> bool:
        return self._timer is not None

    def arm(self, seconds: float) -> None:
        """Close the connection after so many seconds unless `disarm` is called."""
        self.disarm()
        self._timer = self.loop.call_later(seconds, self._too_slow)

    def disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        if self.pending_bytes:
            self.refuse(Refusal(HTTPStatus.REQUEST_TIMEOUT, HEAD_TOO_SLOW))
        else:
            self._end()


def raise_file_limit(connections: int) -> int:
    """Raise this process's limit of file descriptors for so many connections.

    Returns how many it may have, which is less if the hard limit is low. Raises ServingError if they are hardly any.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < SPARE_FILES + FEWEST:
        raise ServingError(
            f"The gateway needs {SPARE_FILES + FEWEST} open files and may have {hard}: raise the hard limit "
            "(ulimit -Hn, LimitNOFILE of systemd)."
        )
    wanted = connections + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return connections if soft == resource.RLIM_INFINITY else min(connections, soft - SPARE_FILES)
