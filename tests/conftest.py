"""What is slow to make and can be shared: a checkpoint, two archives, a browser. And an address where nobody is."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from scripts import archive, paths
from scripts.vision import torchvision

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# As root there is no sandbox; no background request of the browser's own; a camera that shows a test picture.
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="faults: minutes instead of seconds (make test-faults)")


@pytest.fixture(scope="session", autouse=True)
def uploads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what Gradio is sent among the tests' own files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        yield


@pytest.fixture(scope="session")
def seeded_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DenseNet-121 of 1000 classes with seeded random weights, as a state_dict on disk."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "seeded.pth"
    torch.save(torchvision.models.densenet121().state_dict(), path)
    return path


@pytest.fixture(scope="session")
def densenet_archive(seeded_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("densenet-store")
    archive.archive("densenet121", weights_from=str(seeded_checkpoint), model_store=store)
    return store / "densenet121.mar"


@pytest.fixture(scope="session")
def stand_in_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("stand-in-store")
    archive.archive("efficientnet_lite0", labels=paths.LABELS, model_store=store)
    return store / "efficientnet_lite0.mar"


def unpack(mar: Path, folder: Path) -> Path:
    """Unpack an archive as TorchServe does."""
    import zipfile

    with zipfile.ZipFile(mar) as file:
        file.extractall(folder)
    return folder


@pytest.fixture(scope="session")
def densenet_folder(densenet_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(densenet_archive, tmp_path_factory.mktemp("densenet"))


@pytest.fixture(scope="session")
def stand_in_folder(stand_in_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(stand_in_archive, tmp_path_factory.mktemp("stand-in"))


@pytest.fixture
def nobody() -> str:
    """An address at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


# For one module at a time: while it runs, Playwright keeps an event loop in the main thread, where others start theirs.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The distribution's Chromium: Playwright's own is a download."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()
