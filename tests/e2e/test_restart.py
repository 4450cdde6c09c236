"""TorchServe stopped and started again behind a page that stays open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from scripts import paths, server
from scripts.gateway import Gateway
from tests.browser.support import Visit
from tests.e2e.conftest import free_port_range
from tests.e2e.support import command
from web.upstream import NOT_RUNNING


@pytest.fixture
def serve(stand_in_archive: Path, tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Starts a TorchServe of its own, which is not left behind."""
    port = str(free_port_range())

    def start() -> None:
        run("serve", "--run-dir", tmp_path, "--model-store", stand_in_archive.parent, "--port", port)

    yield start
    if running := server.Server.find(tmp_path):
        running.stop()


@pytest.fixture
def gateway(serve: Callable[[], None], stand_in_archive: Path, tmp_path: Path) -> Iterator[Gateway]:
    serve()
    run("web", "--run-dir", tmp_path, "--model-store", stand_in_archive.parent, "--port", str(free_port_range(1)))
    found = Gateway.find(tmp_path)
    assert found is not None
    yield found
    found.stop(tmp_path)


def run(verb: str, *arguments: str | Path) -> None:
    done = command(verb, *arguments)
    assert done.returncode == 0, done.stderr


def test_the_page_outlives_torchserve(
    gateway: Gateway, serve: Callable[[], None], tmp_path: Path, browser: Browser
) -> None:
    with Visit(browser, gateway.url, "restart", {"viewport": {"width": 1100, "height": 900}}) as visit:
        heading = visit.page.locator("#answer h2")
        visit.page.locator("#photo input[type=file]").set_input_files(paths.SAMPLE_PHOTO)
        expect(heading).to_have_text("Egyptian cat")

        stopped = server.Server.find(tmp_path)
        assert stopped is not None
        stopped.stop()
        visit.page.get_by_role("button", name="A blurred clock").click()
        expect(visit.page.get_by_role("alert")).to_have_text(NOT_RUNNING)
        visit.screenshot()

        serve()
        visit.page.get_by_role("button", name="A cat").click()
        expect(heading).to_have_text("Egyptian cat")
        expect(visit.page.get_by_role("alert")).to_have_count(0)
    assert visit.errors == []
