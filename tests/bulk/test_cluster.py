"""Three hosts that classify, one of them with the command. Something breaks, and each photo is in the output once.

`--full` has ten times the photos, and a store that refuses for ten seconds.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[bulk]'")

from densenet_serving import paths
from tests.bulk.conftest import ENVIRONMENT, command, make_photos, rows
from tests.bulk.hosts import PORT, TOKEN, Host, cluster
from tests.disks import small_disk
from tests.hosts.network import reason_against
from tests.waiting import until

HOSTS = 3
END_SECONDS = 120
# They are written before something breaks, and before the next does. Each takes a worker a third of a second.
CHUNKS_BETWEEN = 2
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
def hosts(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Host]]:
    if reason := reason_against():
        pytest.skip(reason)
    with cluster(tmp_path_factory.mktemp("cluster"), HOSTS, ENVIRONMENT) as made:
        yield made


@pytest.fixture(scope="module")
def photos(shared: Path, pytestconfig: pytest.Config) -> Path:
    return make_photos(shared / "photos", 3_000 if pytestconfig.getoption("full") else 300, b"slow")


class Run:
    """The command on the head, from its start until the middle of its work."""

    def __init__(self, hosts: list[Host], photos: Path, archive: Path, output: Path, log: Path, workers: int) -> None:
        self._output, self._photos, self._log = output, photos, log
        address = f"{hosts[0].machine.address}:{PORT}"
        arguments = command(photos, output, archive, "--address", address, "--workers", str(workers))
        with log.open("wb") as stream:
            self._process = psutil.Popen(
                hosts[0].command(arguments), cwd=paths.ROOT, env=ENVIRONMENT | TOKEN, stdout=stream, stderr=stream
            )
        self.goes_on()

    def goes_on(self) -> None:
        """Wait until more chunks are written."""
        wanted = len(self.parts()) + CHUNKS_BETWEEN

        def written() -> bool:
            assert self._process.poll() is None, self._log.read_text()
            return len(self.parts()) >= wanted

        until(written, END_SECONDS)

    def parts(self) -> list[Path]:
        return list(self._output.glob("part-*.parquet"))

    def kill(self) -> None:
        for process in (*self._process.children(recursive=True), self._process):  # nsenter's child is the command
            process.kill()
        self._process.wait(END_SECONDS)

    def check(self, record: Record) -> None:
        """It ends by itself, and each photo is there once."""
        broken = time.monotonic()
        assert self._process.wait(END_SECONDS) == 0, self._log.read_text()
        record("seconds_from_last_fault_to_end", round(time.monotonic() - broken, 1))
        found = rows(self._output)
        record("photos", len(found))
        assert [row["id"] for row in found] == list(range(len(list(self._photos.iterdir()))))
        assert len({row["path"] for row in found}) == len(found)


Start = Callable[[int], Run]


@pytest.fixture
def start(hosts: list[Host], photos: Path, lengths: Path, shared: Path, tmp_path: Path) -> Start:
    # The log lies elsewhere: a store of which a file is being written cannot be made read-only.
    return lambda workers: Run(hosts, photos, lengths, shared / tmp_path.name, tmp_path / "log", workers)


def test_a_run_that_loses_its_command_its_store_and_a_worker(
    start: Start, hosts: list[Host], shared: Path, pytestconfig: pytest.Config, record_property: Record
) -> None:
    run = start(2)
    run.kill()
    record_property("chunks_kept", len(run.parts()))
    again = start(2)
    make_store(shared, "ro")
    time.sleep(10 if pytestconfig.getoption("full") else 2)
    make_store(shared, "rw")
    again.goes_on()
    worker, *_ = [worker for host in hosts[1:] for worker in host.workers()]
    worker.kill()
    again.check(record_property)


def test_a_hosts_cable_is_cut_and_another_host_is_killed(
    start: Start, hosts: list[Host], record_property: Record
) -> None:
    """The one that is cut off goes on alone for a while, and writes what another is given too."""
    run = start(3)
    _, cut_off, killed = hosts
    assert cut_off.workers()
    assert killed.workers()
    cut_off.machine.unplug()
    run.goes_on()
    killed.kill()
    run.check(record_property)


def make_store(folder: Path, mode: str) -> None:
    """Remount it read-only (ro) or not (rw), between two writes."""
    until(
        lambda: not subprocess.run(["mount", "-o", f"remount,{mode}", folder], capture_output=True).returncode,
        END_SECONDS,
    )
