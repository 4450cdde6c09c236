"""Requests as clients spell them: HEAD asks for what GET would get, curl -T sends PUT, a slash too many is none."""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

METHODS = {"HEAD": "GET", "PUT": "POST"}
SLASHES = re.compile("/{2,}")


class Spelling:
    """ASGI middleware outside all others, so that guards and routes see one spelling.

    A redirect from /predict/ to /predict would lose the photo: many clients do not send a body again. The server below
    knows the method that was sent, and gives HEAD no body.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = SLASHES.sub("/", scope["path"]).rstrip("/") or "/"
        sent = scope["method"]
        spelled: Scope = {**scope, "path": path, "raw_path": path.encode(), "method": METHODS.get(sent, sent)}
        await self._app(spelled, receive, _without_body(send) if sent == "HEAD" else send)


def _without_body(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return send_head
