"""Three machines with a unit each, behind one load balancer."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from densenet_serving import paths
from tests.deploy import envoy
from tests.deploy.envoy import Envoy
from tests.e2e.support import as_version, rewrite
from tests.hosts.load import Load
from tests.hosts.network import Network, network, reason_against
from tests.hosts.unit import Unit
from tests.pictures import SAMPLE_NAME

UNITS = 3
SECOND = f"second {SAMPLE_NAME}"  # what version 2.0 calls the sample photo
# Of the peak: the load that the faults are tried under, which two units of three can carry, and half of it where other
# tests run beside them.
FULL_SHARE, SHARE = 0.6, 0.3
PEAK_PHOTOS = 60
Record = Callable[[str, object], None]


@dataclass(frozen=True)
class Farm:
    """All machines. `stores` has a model store for each version, `peak` and `rate` are in photos a second."""

    network: Network
    units: tuple[Unit, ...]
    balancer: Envoy
    stores: dict[str, Path]
    peak: float = 1.0
    rate: float = 1.0

    def load(self, count: int, rate: float | None = None) -> Load:
        return Load(
            self.network.router,
            f"http://{self.network.router.address}:8443/predict",
            paths.SAMPLE_PHOTO,
            rate or self.rate,
            count,
        )

    def wait_until_whole(self) -> None:
        for unit in self.units:
            unit.wait_until_ready(self.network.router)
        self.balancer.wait_for(UNITS)


@pytest.fixture(autouse=True)
def whole(farm: Farm) -> Iterator[None]:
    """Every test begins with three healthy units, and leaves them so."""
    farm.balancer.wait_for(UNITS)
    yield
    farm.wait_until_whole()


@pytest.fixture(scope="session")
def photos(pytestconfig: pytest.Config) -> int:
    """How many photos are sent while something breaks."""
    return 1_000 if pytestconfig.getoption("full") else 72


@pytest.fixture(scope="session")
def stores(stand_in_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model store for each of two versions, whose class names differ."""
    folder = tmp_path_factory.mktemp("stores")
    stores = {version: folder / version for version in ("1.0", "2.0")}
    for store in stores.values():
        store.mkdir()
    shutil.copy(stand_in_archive, stores["1.0"])
    rewrite(stand_in_archive, stores["2.0"] / stand_in_archive.name, as_version("2.0"))
    return stores


@pytest.fixture(scope="session")
def farm(
    stores: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Farm]:
    if reason := reason_against():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("hosts")
    with ExitStack() as stack:
        made = stack.enter_context(network(UNITS))
        units = tuple(Unit(machine, folder / machine.cable) for machine in made.units)
        for unit in units:
            unit.start(stores["1.0"])
            stack.callback(unit.kill)
        behind = envoy.settings([unit.url for unit in units])
        balancer = stack.enter_context(envoy.running(behind, folder, made.router.command, made.router.read))
        farm = Farm(made, units, balancer, stores)
        farm.wait_until_whole()
        peak = peak_of(farm)
        share = FULL_SHARE if pytestconfig.getoption("full") else SHARE
        yield replace(farm, peak=peak, rate=share * peak)


def peak_of(farm: Farm) -> float:
    """Return the photos a second that the units answer together if they never wait for one."""
    farm.load(PEAK_PHOTOS // 2, rate=PEAK_PHOTOS).answers()  # each worker has answered some, and is warm
    answers = farm.load(PEAK_PHOTOS, rate=1_000).answers()
    return PEAK_PHOTOS / (max(sent.ended for sent in answers) - min(sent.begun for sent in answers))
