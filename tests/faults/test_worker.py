"""A worker dies of SIGKILL while requests and `densenet classify` are under way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from densenet_serving import paths
from densenet_serving.client.http import Client
from densenet_serving.options import STAND_IN
from densenet_serving.server.torchserve import Server
from tests.faults.conftest import Sizes, workers
from tests.faults.load import TIMEOUT_SECONDS, Answer, Target, closed_loop, statuses

CLIENTS = 16
PAUSE_SECONDS = 0.3  # of each client after an answer: while a worker starts, more requests only take its processor time
BACK_SECONDS = 15


@dataclass(frozen=True)
class Death:
    """What clients saw of a worker's death; `back` are the workers that were ready afterwards."""

    before: list[int]
    back: list[int]
    seconds: float
    answers: list[Answer]
    status: int
    rows: list[dict[str, Any]]


@pytest.fixture(scope="module")
def death(running: Server, photo: bytes, sizes: Sizes, tmp_path_factory: pytest.TempPathFactory) -> Death:
    album = tmp_path_factory.mktemp("album")
    for i in range(sizes.album):
        (album / f"{i}.jpg").write_bytes(photo)
    classify = [sys.executable, "-m", "scripts.classify", str(album), "--model", STAND_IN, "--concurrency", "16"]
    classify += ["--run-dir", str(running.endpoint.folder)]
    client, target, stop = Client(running.endpoint), Target(running.endpoint), threading.Event()
    before = workers(client)
    with (
        ThreadPoolExecutor() as pool,
        subprocess.Popen(classify, cwd=paths.ROOT, stdout=subprocess.PIPE, text=True) as process,
    ):
        load = pool.submit(closed_loop, lambda: target.ask(photo), CLIENTS, stop=stop, pause=PAUSE_SECONDS)
        try:
            assert process.stdout
            first = process.stdout.readline()
            os.kill(before[0], signal.SIGKILL)
            back, seconds = wait_for_workers(client, before)
            rest = process.stdout.read()
            process.wait()
        finally:
            stop.set()
            process.kill()
    rows = [json.loads(line) for line in (first + rest).splitlines()]
    return Death(before, back, seconds, load.result(), process.returncode, rows)


def wait_for_workers(client: Client, before: list[int]) -> tuple[list[int], float]:
    """Wait until as many workers as before are ready without the first; gives up after BACK_SECONDS."""
    begun = time.monotonic()
    while time.monotonic() - begun < BACK_SECONDS:
        now = workers(client)
        if len(now) == len(before) and before[0] not in now:
            return now, time.monotonic() - begun
        time.sleep(0.1)
    return workers(client), time.monotonic() - begun


def test_every_request_gets_a_clean_answer(death: Death, record_property: Any) -> None:
    record_property("statuses", dict(statuses(death.answers)))
    record_property("worst", max(answer.seconds for answer in death.answers))
    assert not [answer for answer in death.answers if not answer.is_clean()]
    assert set(statuses(death.answers)) <= {200, 500, 503, 507}
    assert max(answer.seconds for answer in death.answers) < TIMEOUT_SECONDS


def test_the_worker_is_back_within_15_seconds(death: Death, record_property: Any) -> None:
    record_property("seconds", death.seconds)
    assert len(death.back) == len(death.before), death.back
    assert death.before[0] not in death.back
    assert set(death.before[1:]) <= set(death.back)


def test_classify_loses_no_photo(death: Death, sizes: Sizes) -> None:
    assert death.status == 0
    assert len(death.rows) == sizes.album
    assert not [row for row in death.rows if "error" in row]
