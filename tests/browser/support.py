"""A server for the page, devices, and a visit that notes all that the page asked for and complained of."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import uvicorn
from fastapi import FastAPI
from playwright.sync_api import BrowserContext, Page, Request, expect

from densenet_serving import paths
from tests.waiting import until

SCREENSHOTS = paths.ROOT / "build" / "screenshots"
LOOPBACK = {"127.0.0.1", "localhost"}
API = ("/predict", "/explain", "/model")
ICON = "/page/icon.svg"
STARTED_SECONDS = 30
ANSWER_MILLISECONDS = 10_000

# The devices on which the page is tried, as Playwright describes them.
DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}}
PHONE: dict[str, Any] = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
WIDER_PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
DARK: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"}
DARK_PHONE: dict[str, Any] = WIDER_PHONE | {"color_scheme": "dark"}
# A person who types a wrong key into the browser's own prompt and then closes it.
MISTAKEN: dict[str, Any] = DESKTOP | {"http_credentials": {"username": "anybody", "password": "wrong"}}
CLIPBOARD: dict[str, Any] = DESKTOP | {"permissions": ["clipboard-read", "clipboard-write"]}


class Served:
    """An application on a free port of this machine, in a thread, in whose event loop `build` makes it."""

    def __init__(self, build: Callable[[], FastAPI]) -> None:
        config = uvicorn.Config(build, "127.0.0.1", 0, factory=True, log_level="warning", timeout_graceful_shutdown=5)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        until(lambda: self._server.started or not self._thread.is_alive(), STARTED_SECONDS)
        self.url = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}/"

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(STARTED_SECONDS)
        assert not self._thread.is_alive()


class Visit:
    """The page, open in a tab of its own until the visit ends.

    `hosts` are those that the browser asked, `sent` the requests to the API, as POST /predict.
    """

    def __init__(self, context: BrowserContext, url: str, name: str) -> None:
        self.hosts: set[str] = set()
        self.sent: list[str] = []
        self.errors: list[str] = []
        self._name = re.sub(r"\W+", "-", name.removeprefix("test_")).strip("-")
        self._context = context
        self._context.set_default_timeout(ANSWER_MILLISECONDS)
        expect.set_options(timeout=ANSWER_MILLISECONDS)
        self._context.on("request", self._note_request)
        self.page: Page = self._context.new_page()
        self.page.on("websocket", lambda socket: self._note_host(socket.url))
        self.page.on("console", lambda message: self._note_error(message.type, message.text, message.location["url"]))
        self.page.on("pageerror", lambda error: self._note_error("error", str(error)))
        self.page.goto(url)
        self.page.locator("#answer .hint").wait_for()  # main.js, which runs last, wrote it

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.page.close()
        self._context.remove_listener("request", self._note_request)

    def screenshot(self, name: str = "") -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{'-'.join(filter(None, (self._name, name)))}.png", full_page=True)

    def _note_request(self, request: Request) -> None:
        self._note_host(request.url)
        if (path := urlsplit(request.url).path) in API:
            self.sent.append(f"{request.method} {path}")

    def _note_host(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob"):
            self.hosts.add(parts.netloc)

    def _note_error(self, kind: str, text: str, url: str = "") -> None:
        # Chromium complains of every refusal that the page is given, which it then says in words. It asks for the icon
        # after the page is loaded, when it likes: a test may have asked for a key by then.
        refused = text.startswith("Failed to load resource: the server responded")
        if kind == "error" and not (refused and urlsplit(url).path in (*API, ICON)):
            self.errors.append(f"{text} {url}".strip())
