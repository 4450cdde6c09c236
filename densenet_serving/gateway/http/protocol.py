"""uvicorn's HTTP protocol with limits on what a connection may send, and for how long.

uvicorn's own protocol over httptools has none: it keeps headers of any length, leaves silent connections open and
queues pipelined requests without end. These limits are applied as bytes arrive, before any route or API key.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, ASGISendEvent, Scope
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from densenet_serving.gateway.http.connections import room_for
from densenet_serving.gateway.http.refusals import Refusal
from densenet_serving.gateway.limits.budget import BUSY, IDLE, WAITING, Budget
from densenet_serving.gateway.limits.clients import network_of
from densenet_serving.gateway.limits.pace import Pace
from densenet_serving.gateway.limits.share import Share
from densenet_serving.gateway.limits.turns import Turns
from densenet_serving.gateway.settings import GatewaySettings

MAX_HEAD_BYTES = 16_384  # Apache and nginx allow 8 to 32 kB
MAX_PIPELINED = 4  # browsers do not pipeline at all
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
# Requests a second of one address; more of them wait, since each takes half a millisecond from everybody. A proxy may
# send the photos of many clients.
REQUEST_RATE = 100
POST_COSTS = 0.1
HEALTH_CHECKS = (b"/healthz", b"/readyz")

HEAD_TOO_LONG = f"The request's URL and headers are longer than {MAX_HEAD_BYTES // 1024} KiB: send less."
HEAD_TOO_SLOW = f"The request's headers took longer than {HEAD_SECONDS} s: send it again."
TOO_MANY_PIPELINED = f"More than {MAX_PIPELINED} requests wait on this connection: read their answers first."
# Headers of a connection that asks for another protocol, as Java's and curl's clients do for HTTP/2.
OF_UPGRADE = (b"upgrade", b"http2-settings")
MALFORMED = "This is no HTTP request that the gateway understands: send it again."


class LimitedProtocol(HttpToolsProtocol):
    """One connection. `limited_protocol` makes the class for one server."""

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
        self._in_reserve = False
        self._timer: asyncio.TimerHandle | None = None
        self._upload = Pace()
        self._reading: Pace | None = None  # of the client that reads an answer, once it has made the gateway wait
        self._reading_timer: asyncio.TimerHandle | None = None
        self._unread_bytes = 0  # when `_reading` was last brought up to date
        # Bytes since the last complete head or the last piece of a body. Trailers count too.
        self._pending_bytes = 0
        self._head_bytes = 0
        self._head_complete = False
        self._discarded_bytes = 0
        self._refusal: Refusal | None = None
        self._over = False
        self._running: RequestResponseCycle | None = None  # the one being answered; self.cycle is the last one parsed
        self._next: Callable[[], None] | None = None  # begins the next one once the answers before it are read
        self._piece = b""  # what is being parsed
        self._ignoring_upgrade = False

    @property
    def idle(self) -> bool:
        """Whether every request on it has been answered or refused."""
        return self._over or self.cycle is None or (self.cycle.response_complete and not self.pipeline)

    @property
    def pace(self) -> float:
        if self._reading:
            return self._reading.rate
        if self.idle:
            return IDLE
        return self._upload.rate if self.cycle.more_body else WAITING

    def make_room(self) -> None:
        self._abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # Otherwise the system takes megabytes for each client that does not read, and copying them stops the others.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self.owner = network_of(self.client[0]) if self.client else ""
        self._in_reserve = not self.table.try_take(self)
        if self._in_reserve and not self.reserve.try_take(self):
            transport.write(Refusal(HTTPStatus.SERVICE_UNAVAILABLE, BUSY).response())
            self._end()
        else:
            self._arm(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        for budget in (self.table, self.reserve):
            budget.give_back(self)
        self._disarm()
        self._disconnect()
        self._next = None
        self.resume_writing()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse it when it is this client's turn, and read no more until then: a large piece takes milliseconds."""
        self.transport.pause_reading()
        self.turns.add(self.owner, partial(self._parse, data))

    def _parse(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self._take(data)
        if self._discarded_bytes:
            self.loop.call_later(self.discards.wait(EVERYBODY), self._read_on)
        else:
            self._read_on()

    def _read_on(self) -> None:
        if not self.transport.is_closing() and not self.flow.read_paused:
            self.transport.resume_reading()

    def _take(self, data: bytes) -> None:
        if self._over:
            self._discard(len(data))
            return
        self._pending_bytes += len(data)
        self._piece = data
        super().data_received(data)
        self._piece = b""
        if self._pending_bytes > MAX_HEAD_BYTES:
            self._refuse(Refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, HEAD_TOO_LONG))
        elif self.idle and self._timer is None:
            self._arm(HEAD_SECONDS)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's own text
        """Answer a request that the parser or one of its callbacks refused."""
        self._refuse(self._refusal or Refusal(HTTPStatus.BAD_REQUEST, MALFORMED))

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= MAX_PIPELINED:
            self._stop_parsing(Refusal(HTTPStatus.TOO_MANY_REQUESTS, TOO_MANY_PIPELINED))
        self._head_bytes, self._head_complete = 0, False
        super().on_message_begin()
        self.scope["state"]["abort"] = self._abort  # for densenet_serving/gateway/limits/hold.py

    def on_url(self, url: bytes) -> None:
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(len(name) + len(value))
        if not self._head_complete:  # what comes later are trailers, which no route reads
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._ignoring_upgrade = self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"
        if self._ignoring_upgrade:
            return
        if self._in_reserve and self.url not in HEALTH_CHECKS:
            self._stop_parsing(Refusal(HTTPStatus.SERVICE_UNAVAILABLE, BUSY))
        self._head_complete, self._pending_bytes, self._discarded_bytes = True, 0, 0
        self._upload = Pace()
        self._disarm()
        super().on_headers_complete()

    def _unsupported_upgrade_warning(self) -> None:
        """Answer a request that asks for another protocol in this one (RFC 9110, 7.8), where uvicorn loses its body.

        httptools ends parsing behind such a head, and says in its exception how far it came. The head is parsed again
        without those headers, then the rest.
        """
        upgrade = sys.exception()
        if not self._ignoring_upgrade or not isinstance(upgrade, httptools.HttpParserUpgrade):
            return
        rest = self._piece[upgrade.args[0] :]
        kept = [(name, _without_upgrade(name, value)) for name, value in self.headers if name not in OF_UPGRADE]
        line = b"%s %s HTTP/%s\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        head = line + b"".join(b"%s: %s\r\n" % header for header in kept) + b"\r\n"
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self._piece = head + rest
        super().data_received(self._piece)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        async def unless_closed(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            async def send_unless_closed(message: ASGISendEvent) -> None:
                # uvloop raises if something is written to a connection that is closed and not yet reported as lost.
                cycle.disconnected |= self.transport.is_closing()
                await send(message)

            await app(scope, receive, send_unless_closed)

        self._running = cycle
        start = partial(super()._start_asgi_task, cycle, unless_closed)
        wait = self.requests.wait(self.owner)
        self.requests.spend(self.owner, POST_COSTS if cycle.scope["method"] == "POST" else 1)
        if self.flow.write_paused:
            self._next = start
        else:
            self.loop.call_later(wait, self.turns.add, self.owner, start)

    def on_body(self, body: bytes) -> None:
        self._pending_bytes = 0
        self._upload.size += len(body)
        if self.cycle.response_complete:
            self._discard(len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._ignoring_upgrade:
            return
        self._pending_bytes, self._head_complete = 0, False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self.table.touch(self)
        if self._reading_timer is None:
            self._reading = None
        if self.idle and self._head_complete:  # the body has not ended
            self._arm(DISCARD_SECONDS)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._reading = self._reading or Pace()
        self._unread_bytes = self.transport.get_write_buffer_size()
        self._reading_timer = self.loop.call_later(READ_SECONDS, self._check_reader)

    def resume_writing(self) -> None:
        if self._reading_timer is not None:
            self._reading_timer.cancel()
            self._reading_timer = None
            self._count_read()
        if self.cycle is None or self.cycle.response_complete:
            self._reading = None
        super().resume_writing()
        if self._next is not None:
            self.turns.add(self.owner, self._next)
            self._next = None

    def _check_reader(self) -> None:
        """Close the connection if its client read less in READ_SECONDS than the least rate allows."""
        if self._count_read() < self.min_read_rate * READ_SECONDS:
            self._abort()
        else:
            self._reading_timer = self.loop.call_later(READ_SECONDS, self._check_reader)

    def _count_read(self) -> int:
        unread = self.transport.get_write_buffer_size()
        read, self._unread_bytes = self._unread_bytes - unread, unread
        if self._reading:
            self._reading.size += read
        return read

    def timeout_keep_alive_handler(self) -> None:
        if self._reading:  # the last answer is still on its way
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        else:
            self._end()

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            self._stop_parsing(Refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, HEAD_TOO_LONG))

    def _stop_parsing(self, refusal: Refusal) -> None:
        self._refusal = refusal
        raise refusal

    def _refuse(self, refusal: Refusal) -> None:
        """Answer, end the writing side, and drop what still comes: closing at once would destroy the answer."""
        if self.transport.is_closing() or self._over:
            return
        self._over, self._discarded_bytes = True, 0
        self._unset_keepalive_if_required()
        self.pipeline.clear()
        self._disconnect()
        self.transport.write(refusal.response())
        self.transport.write_eof()
        self.flow.resume_reading()
        self._disarm()
        self._timer = self.loop.call_later(CLOSE_SECONDS, self._abort)

    def _abort(self) -> None:
        self._disconnect()
        self.transport.abort()

    def _disconnect(self) -> None:
        """Tell the route that its client is gone, so that what it still writes is dropped.

        uvicorn tells the route of the request that was parsed last, which may wait for this one.
        """
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()

    def _discard(self, size: int) -> None:
        self._discarded_bytes += size
        self.discards.spend(EVERYBODY, size)
        if self._discarded_bytes > self.max_body_bytes:
            self._end()

    def _end(self) -> None:
        """Close, after CLOSE_SECONDS even if the client has not read what was written."""
        self._disarm()
        self.transport.close()
        self._timer = self.loop.call_later(CLOSE_SECONDS, self._abort)

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._timer = self.loop.call_later(seconds, self._too_slow)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        if self._pending_bytes:
            self._refuse(Refusal(HTTPStatus.REQUEST_TIMEOUT, HEAD_TOO_SLOW))
        else:
            self._end()


def _without_upgrade(name: bytes, value: bytes) -> bytes:
    """Leave out of a Connection header what belongs to an upgrade."""
    tokens = [token.strip() for token in value.split(b",")]
    kept = [token for token in tokens if token.lower() not in OF_UPGRADE]
    return b", ".join(kept) if name == b"connection" else value


def limited_protocol(settings: GatewaySettings) -> type[LimitedProtocol]:
    """Return the protocol class of one server. Its connections share the limits of `settings`."""

    class Limited(LimitedProtocol):
        table = Budget(room_for(settings.max_connections), settings.max_connections_per_address)
        reserve = Budget(RESERVE, RESERVE_OF_ONE)
        requests = Share(REQUEST_RATE, REQUEST_RATE)
        turns = Turns()
        discards = Share(DISCARD_RATE, 0)
        max_body_bytes = settings.max_body_bytes
        min_read_rate = settings.min_read_rate

    return Limited
