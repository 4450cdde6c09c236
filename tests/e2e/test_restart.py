"""TorchServe stopped and started again behind a page that stays open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from scripts import paths, server
from scripts.gateway import Gateway
from scripts.options import STAND_IN
from tests.browser.support import Visit
from tests.e2e.conftest import free_port_range
from tests.e2e.support import command
from web.upstream import NOT_RUNNING


@pytest.fixture
def serve(stand_in_archive: Path, tmp_path: Path) -> Iterator[list[str | Path]]:
    """The arguments that start a TorchServe of its own, which is not left behind."""
    yield [
        "serve",
        "--run-dir",
        tmp_path,
        "--model-store",
        stand_in_archive.parent,
        "--port",
        str(free_port_range()),
    ]
    if running := server.Server.find(tmp_path):
        running.stop()


@pytest.fixture
def gateway(serve: list[str | Path], stand_in_archive: Path, tmp_path: Path) -> Iterator[Gateway]:
    for arguments in (serve, ["web", *serve[1:5], "--port", str(free_port_range(1)), "--model", STAND_IN]):
        started = command(*arguments)
        assert started.returncode == 0, started.stderr
    found = Gateway.find(tmp_path)
    assert found is not None
    yield found
    found.stop(tmp_path)


def test_the_page_outlives_torchserve(
    gateway: Gateway, serve: list[str | Path], tmp_path: Path, browser: Browser
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

        again = command(*serve)
        assert again.returncode == 0, again.stderr
        visit.page.get_by_role("button", name="A cat").click()
        expect(heading).to_have_text("Egyptian cat")
        expect(visit.page.get_by_role("alert")).to_have_count(0)
    assert visit.errors == []
