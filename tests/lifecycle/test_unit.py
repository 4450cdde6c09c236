"""`densenet web --foreground` under load: SIGTERM ends both parts together, and no accepted request is lost."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import requests

from densenet_serving import paths
from densenet_serving.client.http import Client
from densenet_serving.gateway.keys import ApiKeys
from densenet_serving.options import STAND_IN
from densenet_serving.server import processes
from densenet_serving.server.gateway import Gateway
from densenet_serving.server.torchserve import Server
from tests.e2e.support import command_here, one_worker
from tests.faults.load import CUT_OFF, Answer, Target, closed_loop, statuses
from tests.ports import free_port_range
from tests.waiting import until

SECONDS = 120
DRAIN_DELAY = 2
PHOTOS = 25  # through the gateway, before SIGTERM and again after it
ACCEPTED = 40  # by TorchServe itself, whose queue takes 100 in all
WITH_WORKER = 4  # a batch
PAUSE_SECONDS = 0.02  # between the requests of a client that is refused at once


class Unit:
    """A running unit: one key of its mounted file, `key`, lets a client in."""

    def __init__(self, folder: Path, model_store: Path) -> None:
        first = free_port_range(6)
        self.run_dir = folder / "run"
        self.url = f"http://127.0.0.1:{first + 5}"
        self.key = ApiKeys(folder).add("phone")
        self._console = folder / "console.log"
        options: list[str | Path] = ["--model-store", model_store, "--run-dir", self.run_dir]
        options += ["--config", one_worker(folder), "--torchserve-port", str(first), "--port", str(first + 5)]
        options += ["--keys", ApiKeys(folder).path, "--drain-delay", str(DRAIN_DELAY), "--json-logs"]
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
        return requests.get(f"{self.url}{path}", timeout=SECONDS).status_code

    def classify(self, photo: bytes) -> int:
        headers = {"Authorization": f"Bearer {self.key}"}
        return requests.post(f"{self.url}/predict", files={"file": photo}, headers=headers, timeout=SECONDS).status_code

    def wait_until(self, condition: Callable[[], bool]) -> None:
        def is_met() -> bool:
            assert self.process.poll() is None, self.said()
            return condition()

        until(is_met, SECONDS, self.said)


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


def test_a_unit_that_is_told_to_end_answers_all_that_it_accepted(unit: Unit, photo: bytes) -> None:
    """Later requests to TorchServe itself are refused: by their token while the queue empties, then nobody listens."""
    server, gateway = Server.find(unit.run_dir), Gateway.find(unit.run_dir)
    assert server
    assert gateway
    family = [server.process, *server.process.children(recursive=True), gateway.process]
    target, stop = Target(server.endpoint), threading.Event()
    assert (unit.status_of("/readyz"), unit.status_of("/model")) == (200, 401)
    with ThreadPoolExecutor(ACCEPTED + 2 * PHOTOS + 4) as pool:
        try:
            accepted = [pool.submit(target.ask, photo) for _ in range(ACCEPTED)]
            wait_until_accepted(Client(server.endpoint), accepted)
            before = [pool.submit(unit.classify, photo) for _ in range(PHOTOS)]
            unit.process.send_signal(signal.SIGTERM)
            unit.wait_until(lambda: unit.status_of("/readyz") == 503)
            assert unit.status_of("/healthz") == 200
            after = [pool.submit(unit.classify, photo) for _ in range(PHOTOS)]
            assert [future.result() for future in (*before, *after)] == [200] * 2 * PHOTOS
            assert statuses(future.result() for future in accepted) == {200: ACCEPTED}
            later = pool.submit(closed_loop, lambda: target.ask(photo), 2, stop=stop, pause=PAUSE_SECONDS)
            assert unit.process.wait(SECONDS) == 0, unit.said()
        finally:
            stop.set()
    assert "Traceback" not in unit.said()
    check_refusals(later.result())
    check_nothing_is_left(unit.run_dir, family)


def wait_until_accepted(client: Client, asked: list[Future[Answer]]) -> None:
    """Wait until no request is on its way any more: each waits in the queue, is with a worker or has its answer."""

    def have_arrived() -> bool:
        [described] = client.versions(STAND_IN)
        queued: int = described["jobQueueStatus"]["pendingRequests"]
        return queued + sum(future.done() for future in asked) >= len(asked) - WITH_WORKER

    until(have_arrived, SECONDS)


def check_refusals(later: list[Answer]) -> None:
    refused = [answer for answer in later if answer.status == requests.codes.bad_request]
    assert refused
    assert all(answer.is_clean() for answer in refused)
    assert {json.loads(answer.body)["type"] for answer in refused} == {"InvalidKeyException"}
    closed = min(answer.begun + answer.seconds for answer in refused)
    assert set(statuses(answer for answer in later if answer.begun > closed)) <= {400, CUT_OFF}


def check_nothing_is_left(run_dir: Path, family: list[psutil.Process]) -> None:
    assert len(family) >= 3  # Java, a worker, the gateway
    assert not [process for process in family if processes.runs(process)]
    left = sorted(path.name for path in run_dir.iterdir())
    assert left == ["config.properties", "gateway-console.log", "logs"]
