"""The real gateway in front of a fake TorchServe, opened in a real browser."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import FastAPI
from playwright.sync_api import Browser, BrowserContext

from densenet_serving.client.endpoint import Endpoint
from densenet_serving.gateway.app import create_app
from densenet_serving.gateway.settings import GatewaySettings
from densenet_serving.gateway.upstream import Upstream
from tests.browser.devices import DESKTOP
from tests.browser.support import LOOPBACK, Served, Visit
from tests.browser.torchserve import FakeTorchServe
from tests.chromium import open_browser
from tests.densenet_serving.conftest import write_keys
from tests.densenet_serving.gateway.conftest import MODEL


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One for all these tests: none of them needs an event loop in this thread."""
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="session")
def torchserve() -> FakeTorchServe:
    return FakeTorchServe()


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_keys(folder)
    return folder


@pytest.fixture(scope="session")
def asked_hosts() -> set[str]:
    """Every host that this process, which serves the page, looks up or connects to."""
    hosts: set[str] = set()

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.connect" and isinstance(arguments[1], tuple):
            hosts.add(arguments[1][0])
        elif event == "socket.getaddrinfo" and arguments[0]:
            hosts.add(arguments[0])

    sys.addaudithook(note)
    return hosts


@pytest.fixture(scope="session")
def url(torchserve: FakeTorchServe, run_dir: Path, asked_hosts: set[str]) -> Iterator[str]:
    endpoint = Endpoint("http://inference", "http://management", "http://metrics", run_dir)

    def build() -> FastAPI:
        upstream = Upstream(endpoint, MODEL, transport=httpx.MockTransport(torchserve))
        return create_app(upstream, GatewaySettings(run_dir, MODEL))

    served = Served(build)
    yield served.url
    served.stop()


@pytest.fixture(scope="session")
def context_of(browser: Browser) -> Callable[[dict[str, Any]], BrowserContext]:
    """Make the browser a device, once: between visits the page keeps nothing, and each context costs two processes."""
    contexts: dict[str, BrowserContext] = {}

    def context_of(device: dict[str, Any]) -> BrowserContext:
        if repr(device) not in contexts:
            contexts[repr(device)] = browser.new_context(**device)
            contexts[repr(device)].new_page()  # the process of a context ends with its last page
        return contexts[repr(device)]

    return context_of


@pytest.fixture
def visit(
    context_of: Callable[[dict[str, Any]], BrowserContext],
    url: str,
    torchserve: FakeTorchServe,
    asked_hosts: set[str],
    request: pytest.FixtureRequest,
) -> Iterator[Visit]:
    """The page freshly opened, on the device that the test's parameter describes.

    Whatever the test does: neither the browser nor the server asks another host, and the console has no error, which
    what the content security policy forbids would be.
    """
    torchserve.running = torchserve.explains = torchserve.maps = True
    torchserve.multi_label = False
    torchserve.asked.clear()
    torchserve.overlays.clear()
    failed = request.session.testsfailed
    context = context_of(getattr(request, "param", DESKTOP))
    with Visit(context, url, request.node.name) as visit:
        yield visit
        if request.session.testsfailed > failed:
            visit.screenshot()
    assert visit.hosts == {urlsplit(url).netloc}
    assert asked_hosts <= LOOPBACK
    assert visit.errors == []


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """A file that is no photo."""
    path = tmp_path / "notes.txt"
    path.write_text("no photo")
    return path
