"""What clients see of three units behind Envoy while one of them breaks. `--full` sends a thousand photos each time."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest

from densenet_serving.gateway.answer import WORKER_DIED
from tests.hosts.conftest import SECOND, UNITS, Farm, Record
from tests.hosts.load import Load, Sent
from tests.hosts.unit import Unit
from tests.pictures import SAMPLE_NAME

SLOW_SECONDS = 3


def check_none_lost(answers: list[Sent], count: int, record: Record) -> None:
    seconds = sorted(sent.seconds for sent in answers)
    record("photos", len(answers))
    record("lost", sum(sent.status != 200 for sent in answers))
    record("p50_seconds", round(seconds[len(seconds) // 2], 3))
    record("worst_seconds", round(seconds[-1], 3))
    assert Counter(sent.status for sent in answers) == {200: count}


def load_in_its_midst(farm: Farm, photos: int) -> Load:
    """Begin a load, and return in its midst."""
    load = farm.load(photos)
    time.sleep(photos / farm.rate / 3)
    return load


def one_away(farm: Farm, record: Record, go: Callable[[], None], come_back: Callable[[], None]) -> None:
    """Let one unit go and come back, and record how long the load balancer takes to notice."""
    for name, act, healthy in (("avoided_seconds", go, UNITS - 1), ("recovery_seconds", come_back, UNITS)):
        begun = time.monotonic()
        act()
        farm.balancer.wait_for(healthy)
        record(name, round(time.monotonic() - begun, 1))


def test_a_killed_host_loses_no_photo(farm: Farm, photos: int, record_property: Record) -> None:
    load = load_in_its_midst(farm, photos)
    one_away(farm, record_property, farm.units[0].kill, lambda: farm.units[0].start(farm.stores["1.0"]))
    check_none_lost(load.answers(), photos, record_property)


def test_a_pulled_cable_loses_no_photo(farm: Farm, photos: int, record_property: Record) -> None:
    load, machine = load_in_its_midst(farm, photos), farm.units[1].machine
    one_away(farm, record_property, machine.unplug, machine.plug_in)
    check_none_lost(load.answers(), photos, record_property)


def test_a_workers_death_costs_no_more_than_the_photo_it_was_alone_with(
    farm: Farm, photos: int, record_property: Record
) -> None:
    """That one may have killed it, and is not sent to another worker."""
    load = load_in_its_midst(farm, photos)
    os.kill(farm.units[2].workers()[0], signal.SIGKILL)

    answers = load.answers()
    alone = [sent for sent in answers if WORKER_DIED in sent.error]
    assert len(alone) <= 1
    record_property("alone", len(alone))
    check_none_lost([sent for sent in answers if sent not in alone], photos - len(alone), record_property)


def test_a_host_that_hangs_loses_no_photo(farm: Farm, photos: int, record_property: Record) -> None:
    load = load_in_its_midst(farm, photos)
    workers = farm.units[0].workers()
    assert workers
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(SLOW_SECONDS)
    for pid in workers:
        os.kill(pid, signal.SIGCONT)

    check_none_lost(load.answers(), photos, record_property)


def roll(farm: Farm, units: Iterable[Unit]) -> None:
    for unit in units:
        assert unit.end() == 0, unit.console()
        unit.start(farm.stores["2.0"])
        unit.wait_until_ready(farm.network.router)
        farm.balancer.wait_for(UNITS)


def test_a_new_version_rolls_over_the_hosts(
    farm: Farm, photos: int, pytestconfig: pytest.Config, record_property: Record
) -> None:
    """Last of all: from here on units answer as version 2.0, with `--full` all of them and otherwise the first."""
    rolled = farm.units if pytestconfig.getoption("full") else farm.units[:1]
    with ThreadPoolExecutor(1) as pool:
        rolling = pool.submit(roll, farm, rolled)
        answers = []
        while not rolling.done():
            answers += farm.load(photos).answers()
        rolling.result()

    check_none_lost(answers, len(answers), record_property)
    assert {sent.name for sent in answers} <= {SAMPLE_NAME, SECOND}
    names = {sent.name for sent in farm.load(10 * UNITS).answers()}
    assert names == ({SECOND} if len(rolled) == UNITS else {SAMPLE_NAME, SECOND})
