"""One server for the faults it survives, on a small disk of its own, and how hard it is tried."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from densenet_serving import paths
from densenet_serving.build.archives import read_all
from densenet_serving.client.http import Client
from densenet_serving.options import STAND_IN
from densenet_serving.server import torchserve
from densenet_serving.server.start import wait_until_ready
from tests.disks import small_disk
from tests.faults.load import Target
from tests.ports import free_port_range


@dataclass(frozen=True)
class Sizes:
    overload_requests: int  # at ten times the peak; the queue and the workers take about a hundred of them
    # The share by which memory may grow while it lasts: a JVM that gets little processor time holds more bodies.
    overload_growth: float
    soak_requests: int
    soak_settled: int  # requests after which memory is measured for the first time
    soak_growth: float  # the share by which it may grow from then on
    album: int  # photos that `densenet classify` sends while a worker is killed
    attack_seconds: float
    attack_requests: int  # of a good client meanwhile


SHORT = Sizes(
    overload_requests=500,
    overload_growth=0.3,
    soak_requests=400,
    soak_settled=200,
    soak_growth=0.15,
    album=120,
    attack_seconds=1.5,
    attack_requests=30,
)
FULL = Sizes(
    overload_requests=30_000,
    overload_growth=0.15,
    soak_requests=20_000,
    soak_settled=2_000,
    soak_growth=0.05,
    album=1_000,
    attack_seconds=20,
    attack_requests=200,
)


@pytest.fixture(scope="session")
def sizes(pytestconfig: pytest.Config) -> Sizes:
    return FULL if pytestconfig.getoption("full") else SHORT


@pytest.fixture(scope="package")
def server_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, bool]]:
    """The folder of the shared server, and whether it is a small file system of its own."""
    folder = tmp_path_factory.mktemp("faults") / "run"
    with small_disk(folder, 120) as mounted:
        yield folder, mounted


@pytest.fixture(scope="package")
def running(
    server_disk: tuple[Path, bool], stand_in_archive: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[torchserve.Server]:
    """The stand-in's server, from a model store that is read-only where this user may mount one."""
    store = tmp_path_factory.mktemp("faults-store") / "store"
    with small_disk(store, 100) as mounted:
        shutil.copy(stand_in_archive, store)
        if mounted:
            subprocess.run(["mount", "-o", "remount,ro", store], check=True)
        archives = read_all(store)
        started = torchserve.start(server_disk[0], store, archives, paths.SERVER_CONFIG, free_port_range())
        try:
            wait_until_ready(started, archives, lambda _: None)
            yield started
        finally:
            started.kill()


@pytest.fixture
def client(running: torchserve.Server) -> Client:
    return Client(running.endpoint)


@pytest.fixture
def target(running: torchserve.Server) -> Target:
    return Target(running.endpoint)


def workers(client: Client) -> list[int]:
    """Return the process ids of the workers that are ready."""
    described = client.versions(STAND_IN)
    return sorted(worker["pid"] for one in described for worker in one["workers"] if worker["status"] == "READY")
