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
from pathlib import Path
from typing import Any

from densenet_serving import paths
from densenet_serving.client.http import Client
from densenet_serving.options import STAND_IN
from densenet_serving.server.torchserve import Server
from tests.faults.conftest import Sizes, workers
from tests.faults.load import TIMEOUT_SECONDS, Target, closed_loop, statuses

CLIENTS = 16
PAUSE_SECONDS = 0.3  # of each client after an answer: while a worker starts, more requests only take its processor time
BACK_SECONDS = 15


def test_a_workers_death(running: Server, photo: bytes, sizes: Sizes, tmp_path: Path, record_property: Any) -> None:
    for i in range(sizes.album):
        (tmp_path / f"{i}.jpg").write_bytes(photo)
    classify = [sys.executable, "-m", "scripts.classify", str(tmp_path), "--model", STAND_IN, "--concurrency", "16"]
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
    answers = load.result()
    slowest = max(answer.seconds for answer in answers)
    record_property("statuses, worst, seconds until it is back", (dict(statuses(answers)), slowest, seconds))
    # Every request gets a clean answer.
    assert not [answer for answer in answers if not answer.is_clean()]
    assert set(statuses(answers)) <= {200, 500, 503, 507}
    assert slowest < TIMEOUT_SECONDS
    # The worker is back, and the others are the same.
    assert len(back) == len(before), back
    assert before[0] not in back
    assert set(before[1:]) <= set(back)
    # `densenet classify` loses no photo.
    rows = [json.loads(line) for line in (first + rest).splitlines()]
    assert process.returncode == 0
    assert len(rows) == sizes.album
    assert not [row for row in rows if "error" in row]


def wait_for_workers(client: Client, before: list[int]) -> tuple[list[int], float]:
    """Wait until as many workers as before are ready without the first; gives up after BACK_SECONDS."""
    begun = time.monotonic()
    while time.monotonic() - begun < BACK_SECONDS:
        now = workers(client)
        if len(now) == len(before) and before[0] not in now:
            return now, time.monotonic() - begun
        time.sleep(0.1)
    return workers(client), time.monotonic() - begun
