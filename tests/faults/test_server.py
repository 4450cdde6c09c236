"""The server under ordinary load: many requests, of which a tenth are bad; a full disk; a worker that dies."""

from __future__ import annotations

import itertools
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

import pytest

from densenet_serving import paths
from densenet_serving.client.http import Client
from densenet_serving.options import STAND_IN
from densenet_serving.server.torchserve import Server
from tests.faults.conftest import Sizes, workers
from tests.faults.load import TIMEOUT_SECONDS, Answer, Target, closed_loop, memory_of, statuses

CLIENTS = 16
PAUSE_SECONDS = 0.3  # of each client after an answer: while a worker starts, more requests only take its processor time
BACK_SECONDS = 15
SOAK_CLIENTS = 8
BAD = {400: (b"", b"\xff\xd8\xff\xe0 no more"), 415: (b"GIF is not what this is", b"<html></html>")}


def test_memory_after_a_soak(
    running: Server, target: Target, client: Client, photo: bytes, sizes: Sizes, record_property: Any
) -> None:
    bad = itertools.cycle([body for bodies in BAD.values() for body in bodies])
    numbers = itertools.count()

    def ask() -> Answer:
        return target.ask(next(bad) if next(numbers) % 10 == 9 else photo)

    pids = workers(client)
    answers = closed_loop(ask, SOAK_CLIENTS, count=sizes.soak_settled)
    settled = memory_of(running.pid)
    answers += closed_loop(ask, SOAK_CLIENTS, count=sizes.soak_requests - sizes.soak_settled)
    ended = memory_of(running.pid)

    record_property("settled, ended", (settled, ended))
    assert all(answer.is_clean() for answer in answers)
    count = statuses(answers)
    assert count[200] == sizes.soak_requests * 9 // 10
    assert count[400] + count[415] == sizes.soak_requests // 10
    assert workers(client) == pids
    assert settled.keys() == ended.keys()
    for pid, before in settled.items():
        assert ended[pid] < (1 + sizes.soak_growth) * before


def test_a_server_that_cannot_log_still_answers(
    running: Server, server_disk: tuple[Path, bool], target: Target, client: Client, photo: bytes
) -> None:
    folder, is_small = server_disk
    if not is_small:
        pytest.skip("only root may mount a small file system")
    pids = workers(client)
    ballast = folder / "ballast"
    try:
        fill(ballast)
        answers = closed_loop(lambda: target.ask(photo), 4, count=40)
    finally:
        ballast.unlink()

    assert statuses(answers) == {200: 40}
    assert workers(client) == pids
    assert statuses([target.ask(photo)]) == {200: 1}


def fill(path: Path) -> None:
    """Write until the file system has no room for another byte."""
    with path.open("wb", buffering=0) as file:
        for size in (100_000, 1_000, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


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
