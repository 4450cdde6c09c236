"""How many connections there may be, and what each may send before a request is there.

uvicorn's protocol over httptools has no such limits: headers are kept however long they are, a silent connection stays
open, and pipelined requests are taken in as they come. They are added where the bytes arrive, before any route or key.
"""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Any

from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from web.errors import content_of, type_of
from web.http.connections import Connections, room_for
from web.http.throttle import Throttle
from web.limits.budget import BUSY
from web.limits.clients import network_of
from web.settings import GatewaySettings

MAX_HEAD_BYTES = 16_384  # Apache's and nginx's order: 8 to 32 kB
MAX_PIPELINED = 16  # no browser sends even two
HEAD_SECONDS = 10
SWALLOW_SECONDS = 10  # of a body that nobody reads, after its answer: closing at once would destroy the answer
SWALLOW_RATE = 50e6  # bytes a second of such bodies, of all connections together: reading them takes time from others
CLOSE_SECONDS = 5  # for what was written to be read
READ_SECONDS = 60  # for an answer that is longer than the buffers

HEAD_TOO_LONG = f"The request's URL and headers are longer than {MAX_HEAD_BYTES // 1024} KiB: send less."
HEAD_TOO_SLOW = f"The request's headers took longer than {HEAD_SECONDS} s: send it again."
TOO_MANY_PIPELINED = f"More than {MAX_PIPELINED} requests wait on this connection: read their answers first."
MALFORMED = "This is no HTTP request that the gateway understands: send it again."


class Refused(Exception):
    """Raised in the parser's callbacks, which ends the parsing. The text is the sentence for the client."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class GuardedProtocol(HttpToolsProtocol):
    """One connection. `guard` makes the class that a server is given."""

    guests: Connections
    swallowing: Throttle
    max_body_bytes: int

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.address = ""
        self._timer: asyncio.TimerHandle | None = None
        self._reading_timer: asyncio.TimerHandle | None = None
        # Bytes since the last head that was complete or the last piece of a body: also trailers and the like.
        self._pending_bytes = 0
        self._head_bytes = 0
        self._head_complete = False
        self._swallowed_bytes = 0
        self._refused: Refused | None = None
        self._over = False
        self._running: RequestResponseCycle | None = None  # self.cycle is the last that was parsed

    @property
    def idle(self) -> bool:
        """Nothing was asked for that is not answered or refused."""
        return self._over or self.cycle is None or (self.cycle.response_complete and not self.pipeline)

    def close(self) -> None:
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.address = network_of(self.client[0]) if self.client else ""
        if self.guests.admit(self):
            self._arm(HEAD_SECONDS)
        else:
            transport.write(answer_of(Refused(HTTPStatus.SERVICE_UNAVAILABLE, BUSY)))
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        self.guests.remove(self)
        self._disarm()
        self.resume_writing()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._over:
            self._swallow(len(data))
            return
        if self.transport.is_closing():
            return
        self._pending_bytes += len(data)
        super().data_received(data)
        if self._pending_bytes > MAX_HEAD_BYTES:
            self._refuse(Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, HEAD_TOO_LONG))
        elif self.idle and self._timer is None:
            self._arm(HEAD_SECONDS)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's own text
        """Answer what the parser refused, or what a callback did."""
        self._refuse(self._refused or Refused(HTTPStatus.BAD_REQUEST, MALFORMED))

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= MAX_PIPELINED:
            self._stop(Refused(HTTPStatus.TOO_MANY_REQUESTS, TOO_MANY_PIPELINED))
        self._head_bytes, self._head_complete = 0, False
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(len(name) + len(value))
        if not self._head_complete:  # what comes later are trailers, which nobody asked for
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_complete, self._pending_bytes, self._swallowed_bytes = True, 0, 0
        self._disarm()
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        self._pending_bytes = 0
        if self.cycle.response_complete:
            self._swallow(len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._pending_bytes, self._head_complete = 0, False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self.guests.answered(self)
        if self.idle and self._head_complete:  # the body is not at its end
            self._arm(SWALLOW_SECONDS)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._reading_timer is None:
            self._reading_timer = self.loop.call_later(READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        if self._reading_timer is not None:
            self._reading_timer.cancel()
            self._reading_timer = None
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        self._end()

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            self._stop(Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, HEAD_TOO_LONG))

    def _stop(self, refused: Refused) -> None:
        self._refused = refused
        raise refused

    def _refuse(self, refused: Refused) -> None:
        """Answer, and read no more. Closing with bytes unread would reset the connection and destroy the answer."""
        if self.transport.is_closing() or self._over:
            return
        self._over, self._swallowed_bytes = True, 0
        self._unset_keepalive_if_required()
        self.pipeline.clear()
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True  # what its route still writes is dropped
            self._running.message_event.set()
        self.transport.write(answer_of(refused))
        self.transport.write_eof()
        self.flow.resume_reading()
        self._disarm()
        self._timer = self.loop.call_later(CLOSE_SECONDS, self.transport.abort)

    def _swallow(self, size: int) -> None:
        self._swallowed_bytes += size
        if self._swallowed_bytes > self.max_body_bytes:
            self._end()
        elif not self.transport.is_closing():
            self.transport.pause_reading()
            self.loop.call_later(self.swallowing.delay(size), self._read_on)

    def _read_on(self) -> None:
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def _end(self) -> None:
        """Close; at the latest in a while, even if the client does not read what was written."""
        self._disarm()
        self.transport.close()
        self._timer = self.loop.call_later(CLOSE_SECONDS, self.transport.abort)

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._timer = self.loop.call_later(seconds, self._too_slow)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        if self._pending_bytes:
            self._refuse(Refused(HTTPStatus.REQUEST_TIMEOUT, HEAD_TOO_SLOW))
        else:
            self._end()


def guard(settings: GatewaySettings) -> type[GuardedProtocol]:
    """Make the protocol of one server, whose connections share the limits of `settings`."""

    class Guarded(GuardedProtocol):
        guests = Connections(room_for(settings.max_connections), settings.max_connections_per_address)
        swallowing = Throttle(SWALLOW_RATE)
        max_body_bytes = settings.max_body_bytes

    return Guarded


def answer_of(refused: Refused) -> bytes:
    content = json.dumps(content_of(refused.status, type_of(refused.status), str(refused))).encode()
    headers = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(content)
    return STATUS_LINE[refused.status] + headers + content
