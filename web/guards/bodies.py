"""How much memory and time the body of a request may take, on every route."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from handler.encodings import Inflater, inflater_for
from handler.errors import RequestError
from web.errors import GatewayError, PayloadTooLarge, RequestTimeout, refused
from web.limits.budget import Budget
from web.settings import GatewaySettings

GRACE_SECONDS = 10  # before the rate counts, since a phone's connection may stall for a while


class Bodies:
    """ASGI middleware that counts bytes as a route reads them, and counts them as held until the answer is sent.

    Reading raises a GatewayError if the body is too large or too slow, or if too many bytes are held; the rest of the
    body is not read. Before a route reads, uvicorn holds at most 64 KiB of a body.
    """

    def __init__(self, app: ASGIApp, settings: GatewaySettings) -> None:
        self._app = app
        self._settings = settings
        self._held = Budget(settings.max_held_bytes, settings.max_held_bytes_per_client)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        declared = headers.get("content-length", "")
        try:
            if declared.isdecimal() and int(declared) > self._settings.max_body_bytes:
                raise too_large(self._settings)
            inflater = inflater_for(headers.get("content-encoding", ""), self._settings.max_body_bytes)
        except GatewayError as error:
            await error.response()(scope, receive, send)
            return
        except RequestError as error:
            await refused(error).response()(scope, receive, send)
            return
        with self._held.account() as hold:
            await self._app(scope, Body(receive, hold, self._settings, inflater).receive, send)


class Body:
    """The body of one request, without its Content-Encoding, which `inflater` undoes.

    `hold` is told the size of each piece, and raises if too many bytes are held.
    """

    def __init__(
        self, receive: Receive, hold: Callable[[int], None], settings: GatewaySettings, inflater: Inflater | None
    ) -> None:
        self._receive = receive
        self._hold = hold
        self._settings = settings
        self._inflater = inflater
        self._begun: float | None = None
        self._size = 0
        self._complete = False

    async def receive(self) -> Message:
        """Return the next piece. Raises BadRequest, PayloadTooLarge, RequestTimeout or ServiceUnavailable."""
        if self._complete:
            return await self._receive()  # returns when the client disconnects
        try:
            async with asyncio.timeout_at(self._due()):
                message = await self._receive()
        except TimeoutError as error:
            raise self._too_slow() from error
        size = len(message.get("body", b""))
        self._size += size
        self._complete = not message.get("more_body", False)
        if self._size > self._settings.max_body_bytes:
            raise too_large(self._settings)
        if self._inflater is not None and message["type"] == "http.request":
            message = {**message, "body": self._inflate(self._inflater, message.get("body", b""))}
        self._hold(len(message.get("body", b"")))
        return message

    def _inflate(self, inflater: Inflater, piece: bytes) -> bytes:
        try:
            inflated = inflater.write(piece)
            if self._complete:
                inflater.finish()
        except RequestError as error:
            raise refused(error) from error
        return inflated

    def _due(self) -> float:
        """The time by which the next piece must be there, from the rate so far and the time for the whole body."""
        if self._begun is None:
            self._begun = asyncio.get_running_loop().time()
        by_rate = GRACE_SECONDS + self._size / self._settings.min_upload_rate
        return self._begun + min(by_rate, self._settings.upload_seconds)

    def _too_slow(self) -> GatewayError:
        seconds, rate = self._settings.upload_seconds, self._settings.min_upload_rate
        return RequestTimeout(
            f"The upload took longer than {seconds:g} s or came at less than {rate / 1000:g} kB/s: "
            "send smaller photos or fewer at once."
        )


def too_large(settings: GatewaySettings) -> PayloadTooLarge:
    megabytes = settings.max_body_bytes / 2**20
    return PayloadTooLarge(f"The request is larger than {megabytes:g} MiB: send smaller photos or fewer at once.")
