"""`densenet web --foreground`: gateway and TorchServe begin together and end together, and no request is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import requests
from densenet_serving.server.unit import supervise

from densenet_serving import paths, properties
from densenet_serving.errors import ServingError
from densenet_serving.gateway.keys import ApiKeys
from densenet_serving.gateway.settings import GatewaySettings
from densenet_serving.server import torchserve
from densenet_serving.server.gateway import Gateway
from densenet_serving.server.ports import ports_from
from densenet_serving.server.processes import Identity
from densenet_serving.server.torchserve import Server
from tests.e2e.support import command_here, one_worker, same_signals, wait_until_it_listens
from tests.ports import free_port_range

START_SECONDS = 120
END_SECONDS = 90
DRAIN_DELAY = 2
PHOTOS = 30
POLL_SECONDS = 0.1


class Unit:
    """A running unit: one key of its mounted file, `key`, lets a client in."""

    def __init__(self, folder: Path, model_store: Path) -> None:
        first = free_port_range(6)
        self.run_dir = folder / "run"
        self.url = f"http://127.0.0.1:{first + 5}"
        self.key = ApiKeys(folder).add("phone")
        self._console = folder / "console.log"
        config = one_worker(folder)
        properties.write(config, "For this test.", properties.read(config) | ports_from(first))
        options: list[str | Path] = ["--model-store", model_store, "--run-dir", self.run_dir, "--config", config]
        options += ["--port", str(first + 5), "--keys", ApiKeys(folder).path, "--drain-delay", str(DRAIN_DELAY)]
        with self._console.open("wb") as console:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "scripts.web", "--foreground", *options],
                cwd=paths.ROOT,
                stdout=console,
                stderr=console,
            )

    def said(self) -> str:
        return self._console.read_text()

    def status_of(self, path: str) -> int:
        return requests.get(f"{self.url}{path}", timeout=END_SECONDS).status_code

    def classify(self, photo: bytes) -> int:
        headers = {"Authorization": f"Bearer {self.key}"}
        return requests.post(
            f"{self.url}/predict", files={"file": photo}, headers=headers, timeout=END_SECONDS
        ).status_code

    def wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not condition():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(POLL_SECONDS)

    def parts(self) -> tuple[psutil.Process, psutil.Process]:
        """Return TorchServe's process and the gateway's."""
        server, gateway = Server.find(self.run_dir), Gateway.find(self.run_dir)
        assert server
        assert gateway
        return psutil.Process(server.pid), psutil.Process(gateway.pid)


@pytest.fixture
def unit(stand_in_archive: Path, tmp_path: Path) -> Iterator[Unit]:
    unit = Unit(tmp_path, stand_in_archive.parent)
    try:
        unit.wait_until(lambda: f"{unit.url}/predict" in unit.said())
        yield unit
    finally:
        unit.process.kill()
        unit.process.wait()
        command_here("stop", "--run-dir", unit.run_dir, "--timeout", "0")


def nothing_is_left(run_dir: Path, *parts: psutil.Process) -> bool:
    listed = {file.name for file in run_dir.iterdir()}
    runs = any(part.is_running() and part.status() != psutil.STATUS_ZOMBIE for part in parts)
    return not runs and not listed & {
        "gateway.json",
        "server.json",
        "key_file.json",
    }


def test_told_to_end_it_is_not_ready_and_goes_on_and_loses_nothing(unit: Unit, photo: bytes) -> None:
    parts = unit.parts()
    assert unit.status_of("/readyz") == 200
    assert unit.status_of("/model") == 401
    with ThreadPoolExecutor(PHOTOS) as pool:
        before = [pool.submit(unit.classify, photo) for _ in range(PHOTOS)]
        unit.process.send_signal(signal.SIGTERM)
        unit.wait_until(lambda: unit.status_of("/readyz") == 503)
        later = [pool.submit(unit.classify, photo) for _ in range(PHOTOS)]
        assert unit.status_of("/healthz") == 200
        assert [photo.result() for photo in (*before, *later)] == [200] * 2 * PHOTOS
    assert unit.process.wait(END_SECONDS) == 0, unit.said()
    assert nothing_is_left(unit.run_dir, *parts)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Server, Gateway]]:
    """The two parts of a unit without a model: no worker starts, and none is needed to see which part dies."""
    run_dir, store, first = tmp_path / "run", tmp_path / "store", free_port_range(6)
    store.mkdir()
    server = torchserve.start(run_dir, store, [], paths.SERVER_CONFIG, first)
    settings = GatewaySettings(run_dir, "nobody", port=first + 5)
    with subprocess.Popen(
        [sys.executable, "-m", "densenet_serving.gateway", settings.to_json()], cwd=paths.ROOT
    ) as process:
        try:
            gateway = Gateway(Identity.of(process.pid), settings.url)
            gateway.save(run_dir)
            wait_until_it_listens(server)
            yield server, gateway
        finally:
            process.kill()
            server.stop()


@pytest.mark.parametrize(("killed", "name"), [(0, "TorchServe"), (1, "The gateway")])
def test_if_one_dies_the_other_does_not_stay(pair: tuple[Server, Gateway], killed: int, name: str) -> None:
    server, gateway = pair
    run_dir, parts = server.endpoint.folder, [psutil.Process(part.pid) for part in pair]
    parts[killed].kill()
    with same_signals(), pytest.raises(ServingError, match=f"^{name} ended by itself, so both end"):
        supervise(server, gateway, DRAIN_DELAY, END_SECONDS)
    assert nothing_is_left(run_dir, *parts)


def test_a_second_signal_ends_it_at_once(pair: tuple[Server, Gateway]) -> None:
    server, gateway = pair
    run_dir, parts = server.endpoint.folder, [psutil.Process(part.pid) for part in pair]
    parts[1].suspend()  # it answers nobody, and would be waited for
    with same_signals(), ThreadPoolExecutor(2) as pool:
        asked = pool.submit(requests.get, f"{gateway.url}/healthz", timeout=END_SECONDS)
        told = pool.submit(tell_twice, signal.getsignal(signal.SIGTERM))
        with pytest.raises(ServingError, match="Both ended before the last answer"):
            supervise(server, gateway, DRAIN_DELAY, END_SECONDS)
        told.result()
        with pytest.raises(requests.ConnectionError):
            asked.result()
    assert nothing_is_left(run_dir, *parts)


def tell_twice(usual: object) -> None:
    """Send this process two SIGTERMs, once it no longer handles them as usual."""
    deadline = time.monotonic() + END_SECONDS
    while signal.getsignal(signal.SIGTERM) == usual:
        assert time.monotonic() < deadline, "it handles SIGTERM as if it did not supervise"
        time.sleep(POLL_SECONDS)
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(2 * POLL_SECONDS)
