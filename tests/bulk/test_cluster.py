"""Three hosts: one with the command, two that classify. One of them breaks, and each photo is in the output once.

`--full` has ten times the photos, and a store that refuses for ten seconds.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

pytest.importorskip("ray", reason="ray is not installed: pip install -e '.[bulk]'")

from scripts import paths
from tests.bulk.conftest import command, environment, make_photos, rows
from tests.bulk.hosts import TOKEN, Cluster, cluster
from tests.disks import small_disk
from tests.hosts.network import reason_against

OTHERS = 2
END_SECONDS = 120
# They are written before something breaks. Each takes a worker a third of a second.
CHUNKS_BEFORE = 3
STORE_MEGABYTES = 64
Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The store that every host has: a file system of its own, so that it can refuse to be written."""
    folder = tmp_path_factory.mktemp("shared")
    with small_disk(folder, STORE_MEGABYTES) as mounted:
        if not mounted:
            pytest.skip("only root can mount a small file system")
        yield folder


@pytest.fixture(scope="module")
def three(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if reason := reason_against():
        pytest.skip(reason)
    with cluster(tmp_path_factory.mktemp("cluster"), OTHERS, environment()) as made:
        yield made


@pytest.fixture(scope="module")
def photos(shared: Path, pytestconfig: pytest.Config) -> Path:
    return make_photos(shared / "photos", 3_000 if pytestconfig.getoption("full") else 300, b"slow")


class Run:
    """The command on the head, from its start until the middle of its work."""

    def __init__(self, three: Cluster, photos: Path, archive: Path, output: Path) -> None:
        self.output, self._photos = output, photos
        self._log = output.with_suffix(".log")
        options = ("--address", three.address)
        with self._log.open("wb") as log:
            self._process = psutil.Popen(
                three.head.command(command(photos, output, archive, *options)),
                cwd=paths.ROOT,
                env=environment() | TOKEN,
                stdout=log,
                stderr=log,
            )
        self._wait_for(CHUNKS_BEFORE)
        self.broken = time.monotonic()

    def _wait_for(self, parts: int) -> None:
        end = time.monotonic() + END_SECONDS
        while len(self.parts()) < parts:
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < end, self._log.read_text()
            time.sleep(0.05)

    def parts(self) -> list[Path]:
        return list(self.output.glob("part-*.parquet"))

    def kill(self) -> None:
        for process in (*self._process.children(recursive=True), self._process):  # nsenter's child is the command
            process.kill()
        self._process.wait(END_SECONDS)

    def check(self, record: Record) -> None:
        """It ends by itself, and each photo is there once."""
        assert self._process.wait(END_SECONDS) == 0, self._log.read_text()
        record("seconds_from_fault_to_end", round(time.monotonic() - self.broken, 1))
        found = rows(self.output)
        record("photos", len(found))
        assert [row["id"] for row in found] == list(range(len(list(self._photos.iterdir()))))
        assert len({row["path"] for row in found}) == len(found)


Start = Callable[[], Run]


@pytest.fixture
def start(three: Cluster, photos: Path, lengths: Path, shared: Path, request: pytest.FixtureRequest) -> Start:
    three.complete()  # costs seconds after each test that loses a host, so those tests come last
    return lambda: Run(three, photos, lengths, shared / request.node.name)


def test_a_worker_is_killed(start: Start, three: Cluster, record_property: Record) -> None:
    run = start()
    [worker] = three.others[0].workers()
    worker.kill()
    run.check(record_property)


def test_the_command_is_killed_and_run_again(start: Start, record_property: Record) -> None:
    run = start()
    run.kill()
    before = len(run.parts())
    again = start()
    record_property("chunks_kept", before)
    again.check(record_property)


def test_the_store_refuses_to_be_written(
    start: Start, shared: Path, pytestconfig: pytest.Config, record_property: Record
) -> None:
    run = start()
    make_store(shared, "ro")
    time.sleep(10 if pytestconfig.getoption("full") else 2)
    make_store(shared, "rw")
    run.check(record_property)


def test_a_hosts_cable_is_cut(start: Start, three: Cluster, record_property: Record) -> None:
    """It goes on alone for a while, and writes what another host is given too."""
    run = start()
    three.others[1].machine.unplug()
    run.check(record_property)
    three.others[1].kill()  # Ray takes no host back that it has given up
    three.others[1].machine.plug_in()


def test_a_host_is_killed(start: Start, three: Cluster, record_property: Record) -> None:
    run = start()
    three.others[0].kill()
    run.check(record_property)


def make_store(folder: Path, mode: str) -> None:
    """Remount it read-only (ro) or not (rw), between two writes."""
    end = time.monotonic() + END_SECONDS
    while subprocess.run(["mount", "-o", f"remount,{mode}", folder], capture_output=True).returncode:
        assert time.monotonic() < end
        time.sleep(0.01)
