"""How much memory and time the body of a request may take, on every route."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from densenet_serving.gateway.budget import Budget, Hold, Pace, current_hold
from densenet_serving.gateway.errors import Busy, RequestTimeout, response_to
from densenet_serving.gateway.settings import GatewaySettings
from handler.encodings import Inflater, inflater_for
from handler.errors import PayloadTooLarge, RequestError

COUNTED_METHODS = ("POST",)  # messages.py makes PUT one of them; no route reads the body of another
MADE_ROOM = "The gateway is full, and this was the slowest request of the client with the most: send it again."
GRACE_SECONDS = 10  # before the rate counts, since a phone's connection may stall for a while


class Bodies:
    """ASGI middleware that counts requests and their bytes, as a route reads them, until the answer is sent.

    Reading raises a RequestError if the body is too large or too slow, or if too many bytes are held; the rest of the
    body is not read. Before a route reads, uvicorn holds at most 64 KiB of a body.
    """

    def __init__(self, app: ASGIApp, settings: GatewaySettings) -> None:
        self._app = app
        self._settings = settings
        self._requests = Budget(settings.max_requests, settings.max_requests_per_client)
        self._bytes = Budget(settings.max_held_bytes, settings.max_held_bytes_per_client)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            inflater = self._check(Headers(scope=scope))
            async with asyncio.timeout(None) as until:
                await self._pass_on(scope, receive, send, inflater, until)
        except RequestError as error:
            await response_to(error)(scope, receive, send)
        except TimeoutError:
            if not until.expired():
                raise
            await response_to(Busy(MADE_ROOM))(scope, receive, send)

    def _check(self, headers: Headers) -> Inflater | None:
        """Return what undoes the body's compression. Raises RequestError if the headers say that it is no use."""
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._settings.max_body_bytes:
            raise too_large(self._settings)
        return inflater_for(headers.get("content-encoding", ""), self._settings.max_body_bytes)

    async def _pass_on(
        self, scope: Scope, receive: Receive, send: Send, inflater: Inflater | None, until: asyncio.Timeout
    ) -> None:
        hold = Hold((self._requests, self._bytes), until, scope.get("state", {}).get("abort", lambda: None))
        if scope["method"] in COUNTED_METHODS:
            self._requests.take(hold)

        async def send_held(message: Message) -> None:
            hold.answering()
            await send(message)

        async def receive_counted() -> Message:
            return await self._receive(receive, hold, inflater)

        within = current_hold.set(hold)
        try:
            await self._app(scope, receive_counted, send_held)
        finally:
            current_hold.reset(within)
            hold.give_back()

    async def _receive(self, receive: Receive, hold: Hold, inflater: Inflater | None) -> Message:
        """Return the next piece. Raises BadRequest, PayloadTooLarge, RequestTimeout or ServiceUnavailable."""
        if hold.complete:
            return await receive()  # returns when the client disconnects
        try:
            async with asyncio.timeout(self._seconds_left(hold.upload)):
                message = await receive()
        except TimeoutError as error:
            raise self._too_slow() from error
        hold.upload.size += len(message.get("body", b""))
        hold.complete = not message.get("more_body", False)
        if hold.upload.size > self._settings.max_body_bytes:
            raise too_large(self._settings)
        if inflater is not None and message["type"] == "http.request":
            message = {**message, "body": inflater.write(message.get("body", b""))}
            if hold.complete:
                inflater.finish()
        self._bytes.take(hold, len(message.get("body", b"")))
        return message

    def _seconds_left(self, upload: Pace) -> float:
        """How long the next piece may take, from the rate so far and the time for the whole body."""
        by_rate = upload.seconds_left(self._settings.min_upload_rate, GRACE_SECONDS)
        return min(by_rate, self._settings.upload_seconds - upload.age)

    def _too_slow(self) -> RequestError:
        seconds, rate = self._settings.upload_seconds, self._settings.min_upload_rate
        return RequestTimeout(
            f"The upload took longer than {seconds:g} s or came at less than {rate / 1000:g} kB/s: "
            "send smaller photos or fewer at once."
        )


def too_large(settings: GatewaySettings) -> PayloadTooLarge:
    megabytes = settings.max_body_bytes / 2**20
    return PayloadTooLarge(f"The request is larger than {megabytes:g} MiB: send smaller photos or fewer at once.")
