"""SIGTERM under load: what was accepted is answered, what comes later is refused, and nothing is left."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from densenet_serving import paths
from densenet_serving.client.http import Client
from densenet_serving.options import STAND_IN
from densenet_serving.server.torchserve import Server
from tests.e2e.support import command_here, one_worker
from tests.faults.load import CUT_OFF, Answer, Target, closed_loop, statuses
from tests.ports import free_port_range

ACCEPTED = 60
PATIENCE_SECONDS = 60
WITH_WORKER = 4  # a batch
PAUSE_SECONDS = 0.02  # between the requests of a client that is refused at once


@dataclass(frozen=True)
class End:
    """What was seen of a server's end; `later` are the answers to clients that went on asking.

    `seconds` passed between SIGTERM and the last process's end.
    """

    seconds: float
    accepted: list[Answer]
    later: list[Answer]
    status: int
    said: str
    temporary: Path
    run_dir: Path
    port: int
    family: list[psutil.Process]


@pytest.fixture(scope="module")
def end(stand_in_archive: Path, photo: bytes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[End]:
    run_dir, port = tmp_path_factory.mktemp("end") / "run", free_port_range()
    serve = [sys.executable, "-m", "scripts.serve", "--foreground", "--port", str(port)]
    serve += ["--model-store", str(stand_in_archive.parent), "--run-dir", str(run_dir)]
    serve += ["--config", str(one_worker(run_dir.parent))]
    with (
        subprocess.Popen(
            serve, cwd=paths.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as supervisor,
        ThreadPoolExecutor(ACCEPTED + 4) as pool,
    ):
        stop = threading.Event()
        try:
            assert supervisor.stdout
            assert supervisor.stdout.readline(), supervisor.communicate()
            found = Server.find(run_dir)
            assert found
            java = psutil.Process(found.pid)
            family = [java, *java.children(recursive=True)]
            target = Target(found.endpoint)
            accepted = [pool.submit(target.ask, photo) for _ in range(ACCEPTED)]
            wait_until_accepted(Client(found.endpoint), accepted)
            supervisor.send_signal(signal.SIGTERM)
            begun = time.monotonic()
            later = pool.submit(closed_loop, lambda: target.ask(photo), 2, stop=stop, pause=PAUSE_SECONDS)
            said = supervisor.communicate(timeout=PATIENCE_SECONDS)[1]
            seconds = time.monotonic() - begun
            stop.set()
            answers = [answer.result() for answer in accepted]
            yield End(
                seconds, answers, later.result(), supervisor.returncode, said, found.temporary, run_dir, port, family
            )
        finally:
            stop.set()
            supervisor.kill()
            command_here("stop", "--run-dir", run_dir, "--timeout", "0")


def wait_until_accepted(client: Client, asked: list[Future[Answer]]) -> None:
    """Wait until no request is on its way any more: each waits in the queue, is with a worker or has its answer."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        [described] = client.versions(STAND_IN)
        queued = described["jobQueueStatus"]["pendingRequests"]
        if queued + sum(future.done() for future in asked) >= len(asked) - WITH_WORKER:
            time.sleep(0.2)
            return
        time.sleep(0.01)
    raise AssertionError("The requests did not arrive.")


def test_accepted_requests_are_answered(end: End) -> None:
    assert statuses(end.accepted) == {200: ACCEPTED}


def test_later_requests_are_refused(end: End) -> None:
    """By their token while the queue empties, then by the system: nobody listens."""
    refused = [answer for answer in end.later if answer.status == requests.codes.bad_request]
    assert refused
    assert all(answer.is_clean() for answer in refused)
    closed = min(answer.begun + answer.seconds for answer in refused)
    assert set(statuses(answer for answer in end.later if answer.begun > closed)) <= {400, CUT_OFF}


def test_the_server_ends_and_says_so(end: End, record_property: Any) -> None:
    record_property("seconds", end.seconds)
    assert end.status == 0, end.said
    assert "Traceback" not in end.said
    assert not [process for process in end.family if process.is_running()]
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{end.port}/ping", timeout=5)


def test_nothing_is_left_behind(end: End) -> None:
    assert len(end.family) >= 2  # Java and a worker
    assert not end.temporary.exists()
    assert sorted(path.name for path in end.run_dir.iterdir()) == ["config.properties", "logs"]
