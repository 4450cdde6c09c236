"""What is slow to make and can be shared: a checkpoint, two archives, a browser. And an address where nobody is."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import pytest

from densenet_serving.options import MODEL, STAND_IN
from handler.settings import Precision
from tests import built, pictures
from tests.chromium import open_browser
from tests.local_server import LocalServer, serve

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# What the tests of a folder do beyond this process: see pyproject.toml.
MARKS = {"e2e": "e2e", "lifecycle": "e2e", "faults": "faults", "hosts": "faults"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full", action="store_true", help="try faults for minutes, and the image (make test-slow FULL=1)"
    )
    parser.addoption(
        "--precision",
        choices=get_args(Precision),
        help="of the archives that the tests serve: f32 shows on any machine what one without bf16 answers",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if mark := MARKS.get(item.path.parent.name):
            item.add_marker(mark)


@pytest.fixture(scope="session")
def precision(pytestconfig: pytest.Config) -> Precision | None:
    """The arithmetic of what answers in the tests; None leaves it to handler/model-config.yaml."""
    chosen: Precision | None = pytestconfig.getoption("precision")
    return chosen


@pytest.fixture(scope="session", autouse=True)
def no_limit_of_memory() -> Iterator[None]:
    """Keep a worker that is loaded in this process from limiting it, and all that it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("handler.memory.limit_growth", lambda _: None)
        yield


@pytest.fixture(scope="session")
def seeded_checkpoint() -> Path:
    """A DenseNet-121 of 1000 classes with seeded random weights, as a state_dict on disk."""
    return built.seeded_checkpoint()


@pytest.fixture(scope="session")
def densenet_archive(precision: Precision | None) -> Path:
    """The archive of `seeded_checkpoint`, alone in its folder. Shared by all test processes: copy it to change it."""
    return built.archive_of(MODEL, precision)


@pytest.fixture(scope="session")
def stand_in_archive(precision: Precision | None) -> Path:
    """The stand-in's archive, alone in its folder. Shared by all test processes: copy it to change it."""
    return built.archive_of(STAND_IN, precision)


@pytest.fixture(scope="session")
def photos() -> dict[str, bytes]:
    """Real photographs as JPEG files."""
    return {name: pictures.encode(pictures.photo(name), quality=95) for name in pictures.FITTING}


@pytest.fixture(scope="session")
def cat(photos: dict[str, bytes]) -> bytes:
    return photos["chelsea"]


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A real photograph, small: what is tried with it is the server and not the decoder."""
    return pictures.encode(pictures.photo("coffee").resize((96, 64)), quality=90)


@pytest.fixture(scope="session")
def int8_archive() -> Path:
    """The stand-in's int8 archive, of another version. Shared by all test processes: copy it to change it."""
    if find_spec("nncf") is None:
        pytest.skip("NNCF is not installed: pip install -e '.[int8]'.")
    return built.int8_archive()


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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture
def local() -> Iterator[LocalServer]:
    with serve() as running:
        yield running
