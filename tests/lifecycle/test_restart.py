"""TorchServe stopped and started again, behind a page that stays open and with a newer version in its model store."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from densenet_serving import paths
from densenet_serving.build.archives import file_name
from densenet_serving.options import STAND_IN
from densenet_serving.server import torchserve
from densenet_serving.server.gateway import Gateway
from tests.browser.devices import DESKTOP
from tests.browser.support import Visit
from tests.e2e.support import as_version, command, command_here, one_worker, rewrite
from tests.pictures import SAMPLE_NAME
from tests.ports import free_port_range


@pytest.fixture
def store(stand_in_archive: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    folder.mkdir()
    shutil.copy(stand_in_archive, folder)
    return folder


@pytest.fixture
def serve(store: Path, tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Starts a TorchServe of its own, which is not left behind."""
    port, config = str(free_port_range()), one_worker(store)

    def start() -> None:
        where: list[str | Path] = ["--run-dir", tmp_path, "--model-store", store, "--port", port, "--config", config]
        done = command_here("serve", *where)
        assert done.returncode == 0, done.stderr

    yield start
    if running := torchserve.Server.find(tmp_path):
        running.kill()


@pytest.fixture
def gateway(serve: Callable[[], None], store: Path, tmp_path: Path) -> Iterator[Gateway]:
    serve()
    done = command("web", "--run-dir", tmp_path, "--model-store", store, "--port", str(free_port_range(1)))
    assert done.returncode == 0, done.stderr
    found = Gateway.find(tmp_path)
    assert found is not None
    yield found
    found.stop(tmp_path)


def test_the_page_outlives_torchserve_and_then_shows_the_newest_version(
    gateway: Gateway, serve: Callable[[], None], store: Path, tmp_path: Path, browser: Browser
) -> None:
    """TorchServe by itself makes the first version it loads the default."""
    with Visit(browser.new_context(**DESKTOP), gateway.url, "restart") as visit:
        heading = visit.page.locator("#answer h2")
        visit.page.locator("#photo input[type=file]").set_input_files(paths.SAMPLE_PHOTO)
        expect(heading).to_have_text(SAMPLE_NAME)

        stopped = torchserve.Server.find(tmp_path)
        assert stopped is not None
        stopped.stop()
        visit.page.get_by_role("button", name="A blurred clock").click()
        expect(visit.page.get_by_role("alert")).to_contain_text("start it with densenet web")
        visit.screenshot()

        rewrite(store / f"{STAND_IN}.mar", store / file_name(STAND_IN, "2.0"), as_version("2.0"))
        serve()
        visit.page.get_by_role("button", name="A cup of coffee").click()
        expect(heading).to_have_text(f"second {SAMPLE_NAME}")
        expect(visit.page.get_by_role("alert")).to_have_count(0)
    assert visit.errors == []
