"""A real TorchServe, once for all end-to-end tests, on free ports and in a run folder of its own.

It starts one worker a model: each takes seconds to start, in these tests again and again.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from densenet_serving import paths
from densenet_serving.build.archives import read_all
from densenet_serving.client.http import Client
from densenet_serving.server import torchserve
from densenet_serving.server.start import wait_until_ready
from tests.e2e.support import ONE_WORKER, Inference, Models, command_here, worker_pids
from tests.ports import free_port_range


@pytest.fixture(scope="session")
def model_store(densenet_archive: Path, stand_in_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("model-store")
    for path in (densenet_archive, stand_in_archive):
        shutil.copy(path, store)
    return store


@pytest.fixture(scope="session")
def running(model_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[torchserve.Server]:
    run_dir = tmp_path_factory.mktemp("server")
    verbose = run_dir / "log4j2.xml"  # with a line for each batch, which a test counts
    verbose.write_text(paths.LOG_CONFIG.read_text().replace('"org.pytorch.serve.wlm" level="warn"', '"unused"'))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "LOG_CONFIG", verbose)
        archives = read_all(model_store)
        started = torchserve.start(run_dir, model_store, archives, paths.SERVER_CONFIG, free_port_range(), ONE_WORKER)
    try:
        wait_until_ready(started, archives, lambda _: None)
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="session")
def run_dir(running: torchserve.Server) -> Path:
    return running.endpoint.folder


@pytest.fixture
def client(running: torchserve.Server) -> Client:
    """A new one for each test, as it keeps its tokens and some tests replace them."""
    return Client(running.endpoint)


@pytest.fixture(scope="session")
def inference(running: torchserve.Server) -> Inference:
    return Inference(running.endpoint)


@pytest.fixture
def same_workers(client: Client) -> Iterator[None]:
    """Whatever the test sends, the workers outlive it."""
    before = worker_pids(client)
    yield
    assert worker_pids(client) == before


@pytest.fixture(scope="session")
def models(run_dir: Path) -> Models:
    """Run `densenet models ...` against the running server."""
    return lambda *arguments: command_here("models", *arguments, "--run-dir", run_dir)
