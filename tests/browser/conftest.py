"""The page of a fake TorchServe, opened in a real browser."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI
from playwright.sync_api import Browser

from tests.browser.support import LOOPBACK, Served, Visit
from tests.web.fake_upstream import FakeUpstream
from web import page
from web.upstream import Upstream

DESKTOP = {"viewport": {"width": 1200, "height": 900}}


@pytest.fixture(scope="session")
def upstream() -> FakeUpstream:
    return FakeUpstream()


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
def url(upstream: FakeUpstream, asked_hosts: set[str]) -> Iterator[str]:
    served = Served(lambda: page.mount(FastAPI(), cast(Upstream, upstream)))
    yield served.url
    served.stop()


@pytest.fixture
def visit(
    browser: Browser, url: str, upstream: FakeUpstream, asked_hosts: set[str], request: pytest.FixtureRequest
) -> Iterator[Visit]:
    """The page freshly opened, on the device that the test's parameter describes.

    Whatever the test does: neither the browser nor the server asks another host, and the console has no error.
    """
    upstream.running = True
    upstream.explained.clear()
    with Visit(browser, url, request.node.name, getattr(request, "param", DESKTOP)) as visit:
        yield visit
        visit.screenshot()
    assert visit.hosts == {urlsplit(url).netloc}
    assert asked_hosts <= LOOPBACK
    assert visit.errors == []
