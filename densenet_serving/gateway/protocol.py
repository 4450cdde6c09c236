"""uvicorn's HTTP protocol with limits on requests: the length of their heads, how many wait, and whose turn it is.

uvicorn's own protocol over httptools keeps headers of any length and queues pipelined requests without end.
"""

from __future__ import annotations

import sys
from functools import partial
from http import HTTPStatus

import httptools
from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, ASGISendEvent, Scope
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from densenet_serving.gateway.budget import BUSY, Budget, Pace
from densenet_serving.gateway.clients import Share, Turns
from densenet_serving.gateway.connections import (
    DISCARD_RATE,
    DISCARD_SECONDS,
    HEAD_SECONDS,
    RESERVE,
    RESERVE_OF_ONE,
    LimitedConnection,
    Refusal,
    raise_file_limit,
)
from densenet_serving.gateway.settings import GatewaySettings

MAX_HEAD_BYTES = 16_384  # Apache and nginx allow 8 to 32 kB
MAX_PIPELINED = 4  # browsers do not pipeline at all
# Requests a second of one address; more of them wait, since each takes half a millisecond from everybody. A proxy may
# send the photos of many clients.
REQUEST_RATE = 100
POST_COSTS = 0.1
HEALTH_CHECKS = (b"/healthz", b"/readyz")
# Headers of a connection that asks for another protocol, as Java's and curl's clients do for HTTP/2.
OF_UPGRADE = (b"upgrade", b"http2-settings")

HEAD_TOO_LONG = f"The request's URL and headers are longer than {MAX_HEAD_BYTES // 1024} KiB: send less."
TOO_MANY_PIPELINED = f"More than {MAX_PIPELINED} requests wait on this connection: read their answers first."
MALFORMED = "This is no HTTP request that the gateway understands: send it again."


class LimitedProtocol(LimitedConnection):
    """The requests of one connection. `limited_protocol` makes the class for one server."""

    _head_bytes = 0
    _head_complete = False
    _refusal: Refusal | None = None
    _piece = b""  # what is being parsed
    _ignoring_upgrade = False

    def data_received(self, data: bytes) -> None:
        """Parse it when it is this client's turn, and read no more until then: a large piece takes milliseconds."""
        self.transport.pause_reading()
        self.turns.add(self.owner, partial(self._parse, data))

    def _parse(self, data: bytes) -> None:
        if self.over:
            self.discard(len(data))
        elif not self.transport.is_closing():
            self._feed(data)
        self.read_on()

    def _feed(self, data: bytes) -> None:
        self.pending_bytes += len(data)
        self._piece = data
        super().data_received(data)
        self._piece = b""
        if self.pending_bytes > MAX_HEAD_BYTES:
            self.refuse(Refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, HEAD_TOO_LONG))
        elif self.idle and not self.armed:
            self.arm(HEAD_SECONDS)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's own text
        """Answer a request that the parser or one of its callbacks refused."""
        self.refuse(self._refusal or Refusal(HTTPStatus.BAD_REQUEST, MALFORMED))

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= MAX_PIPELINED:
            self._stop_parsing(Refusal(HTTPStatus.TOO_MANY_REQUESTS, TOO_MANY_PIPELINED))
        self._head_bytes, self._head_complete = 0, False
        super().on_message_begin()
        self.scope["state"]["abort"] = self.abort  # for budget.Hold

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
        if self.in_reserve and self.url not in HEALTH_CHECKS:
            self._stop_parsing(Refusal(HTTPStatus.SERVICE_UNAVAILABLE, BUSY))
        self._head_complete, self.pending_bytes, self.discarded_bytes = True, 0, 0
        self.upload = Pace()
        self.disarm()
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
        """Begin a request when it is this client's turn, and once the answers before it are read."""

        async def unless_closed(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            async def send_unless_closed(message: ASGISendEvent) -> None:
                # uvloop raises if something is written to a connection that is closed and not yet reported as lost.
                cycle.disconnected |= self.transport.is_closing()
                await send(message)

            await app(scope, receive, send_unless_closed)

        self.running = cycle
        begin = partial(super()._start_asgi_task, cycle, unless_closed)
        wait = self.requests.wait(self.owner)
        self.requests.spend(self.owner, POST_COSTS if cycle.scope["method"] == "POST" else 1)
        if self.flow.write_paused:
            self.begin_next = begin
        else:
            self.loop.call_later(wait, self.turns.add, self.owner, begin)

    def on_body(self, body: bytes) -> None:
        self.pending_bytes = 0
        self.upload.size += len(body)
        if self.cycle.response_complete:
            self.discard(len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._ignoring_upgrade:
            return
        self.pending_bytes, self._head_complete = 0, False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self.table.touch(self)
        if self.idle and self._head_complete:  # the body has not ended
            self.arm(DISCARD_SECONDS)

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            self._stop_parsing(Refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, HEAD_TOO_LONG))

    def _stop_parsing(self, refusal: Refusal) -> None:
        self._refusal = refusal
        raise refusal


def _without_upgrade(name: bytes, value: bytes) -> bytes:
    """Leave out of a Connection header what belongs to an upgrade."""
    tokens = [token.strip() for token in value.split(b",")]
    kept = [token for token in tokens if token.lower() not in OF_UPGRADE]
    return b", ".join(kept) if name == b"connection" else value


def limited_protocol(settings: GatewaySettings) -> type[LimitedProtocol]:
    """Return the protocol class of one server. Its connections share the limits of `settings`."""

    class Limited(LimitedProtocol):
        table = Budget(raise_file_limit(settings.max_connections), settings.max_connections_per_address)
        reserve = Budget(RESERVE, RESERVE_OF_ONE)
        requests = Share(REQUEST_RATE, REQUEST_RATE)
        turns = Turns()
        discards = Share(DISCARD_RATE, 0)
        max_body_bytes = settings.max_body_bytes
        min_read_rate = settings.min_read_rate

    return Limited
