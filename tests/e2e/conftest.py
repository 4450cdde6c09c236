"""A real TorchServe, once for all end-to-end tests, on free ports and in a run folder of its own."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts import paths, server
from scripts.client import Client


def free_port_range(length: int = 5) -> int:
    """Find a port that begins a range of free ones."""
    for first in range(18080, 60000, length):
        try:
            for port in range(first, first + length):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise RuntimeError("no free ports")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def model_store(
    densenet_archive: Path, stand_in_archive: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    store = tmp_path_factory.mktemp("model-store")
    for path in (densenet_archive, stand_in_archive):
        shutil.copy(path, store)
    return store


@pytest.fixture(scope="session")
def running(model_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.Server]:
    run_dir = tmp_path_factory.mktemp("server")
    started = server.start(run_dir, model_store, paths.SERVER_CONFIG, free_port_range())
    try:
        server.wait_until_ready(started, server.archives_in(model_store), lambda _: None)
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="session")
def client(running: server.Server) -> Client:
    return Client(running.endpoint)
