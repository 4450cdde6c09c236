"""Strangers with much to send and little to lose: the gateway's memory stays, and good clients are served."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psutil
import pytest
import requests

from densenet_serving import paths
from densenet_serving.client.http import Client
from densenet_serving.gateway.settings import LOG_FILE, GatewaySettings
from densenet_serving.options import STAND_IN
from densenet_serving.server import gateway
from densenet_serving.server.gateway import Gateway
from densenet_serving.server.torchserve import Server
from tests.faults.conftest import Sizes, workers
from tests.faults.exhaustion import ATTACKS, MEGABYTE, Attacker
from tests.faults.load import TIMEOUT_SECONDS, Target, closed_loop, percentile, post, repeatedly, seconds_of, statuses
from tests.ports import free_port_range

MEMORY_LIMIT = 3_000_000_000  # were the gateway unbounded, it ends here and not the machine
COPIES = 3  # of what may be held: as it arrives, put together, and on its way to TorchServe
USUAL = 3.0
# A greedy client's photos are good ones: one of two workers computes for it all the time.
RATIOS = dict.fromkeys(ATTACKS, USUAL) | {"greedy": 6.0}
LARGE_BODIES = 64
PROBE_SECONDS = 6  # the time-out of the probes in deploy/kubernetes
ATTEMPTS = 3  # another program's burst ends before the last


@pytest.fixture(scope="module")
def front(running: Server) -> Iterator[Gateway]:
    run_dir = running.endpoint.folder
    settings = GatewaySettings(run_dir, STAND_IN, port=free_port_range(1))
    with subprocess.Popen(
        [sys.executable, "-m", "densenet_serving.gateway", settings.to_json()], cwd=paths.ROOT
    ) as process:
        limited = psutil.Process(process.pid)
        limited.rlimit(psutil.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
        started = Gateway(limited, settings.url)
        try:
            gateway.wait_until_ready(started, run_dir, lambda _: None)
            yield started
        finally:
            process.terminate()


class Peak:
    """The most resident bytes of a process while something goes on."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.before = self.most = self._process.memory_info().rss

    def look(self) -> None:
        self.most = max(self.most, self._process.memory_info().rss)

    @property
    def growth(self) -> int:
        return self.most - self.before


@contextmanager
def attack(name: str, port: int, seconds: float, record_property: Any) -> Iterator[None]:
    command = [sys.executable, "-m", "tests.faults.exhaustion", name, str(port), str(seconds)]
    with subprocess.Popen(command, cwd=paths.ROOT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begun\n"
            time.sleep(0.5)
            yield
            assert process.wait(timeout=TIMEOUT_SECONDS) == 0
            record_property("attack", process.stdout.read().decode().strip())
        finally:
            process.kill()


def ok(front: Gateway, path: str) -> bool:
    """Ask as a supervisor does, on a connection of its own."""
    return requests.get(f"{front.url}{path}", timeout=PROBE_SECONDS).ok


def times_of_a_good_client(front: Gateway, photo: bytes, count: int) -> list[float]:
    """Ask as an ordinary client does; every answer must be a good one."""
    answers = closed_loop(lambda: post(f"{front.url}/predict", files={"file": photo}), 1, count=count)
    assert statuses(answers) == {200: count}
    return seconds_of(answers)


@pytest.fixture(scope="module")
def alone(front: Gateway, photo: bytes, sizes: Sizes) -> list[float]:
    """The times of a good client before any attack: one that leaves the gateway slower shows in the tests after it."""
    times_of_a_good_client(front, photo, sizes.attack_requests)  # to warm up
    return times_of_a_good_client(front, photo, sizes.attack_requests)


@pytest.mark.parametrize("name", ATTACKS)
def test_strangers_take_neither_the_memory_nor_the_answers(
    running: Server,
    front: Gateway,
    alone: list[float],
    photo: bytes,
    client: Client,
    sizes: Sizes,
    record_property: Any,
    name: str,
) -> None:
    pids, port, addresses = workers(client), int(front.url.rpartition(":")[2]), ATTACKS[name][0]
    memory = Peak(front.pid)

    for attempt in range(ATTEMPTS):
        if attempt:  # the machine may have become slower since
            alone = times_of_a_good_client(front, photo, sizes.attack_requests)
        with repeatedly(memory.look), attack(name, port, sizes.attack_seconds, record_property):
            healthy = [ok(front, path) for path in ("/healthz", "/readyz") for _ in range(5)]
            beside = times_of_a_good_client(front, photo, sizes.attack_requests)
        if statistics.median(beside) < RATIOS[name] * statistics.median(alone):
            break

    record_property("p50 and p99 alone", (percentile(alone, 50), percentile(alone, 99)))
    record_property("p50 and p99 beside", (percentile(beside, 50), percentile(beside, 99)))
    record_property("memory before, most", (memory.before, memory.most))
    assert statistics.median(beside) < RATIOS[name] * statistics.median(alone)
    assert memory.growth < COPIES * min(
        GatewaySettings.max_held_bytes, addresses * GatewaySettings.max_held_bytes_per_client
    )
    assert workers(client) == pids
    assert all(healthy)  # or a supervisor would restart it
    logged = running.endpoint.folder / LOG_FILE
    assert not logged.exists() or "Traceback" not in logged.read_text()


def test_large_bodies_do_not_fill_the_jvm(
    running: Server, target: Target, photo: bytes, sizes: Sizes, record_property: Any
) -> None:
    """Beside the gateway, from somebody who holds a token; as much again as the heap lies outside of it."""
    [heap] = [int(text[4:-1]) for text in psutil.Process(running.pid).cmdline() if text.startswith("-Xmx")]
    head = target.message(b"", length=LARGE_BODIES * MEGABYTE // 2)
    memory = Peak(running.pid)

    async def send_many() -> None:
        attacker = Attacker(target.address[1], sizes.attack_seconds, 1)
        await attacker.sends(LARGE_BODIES, head, bytes(MEGABYTE), 31)

    with repeatedly(memory.look), ThreadPoolExecutor(1) as pool:
        sending = pool.submit(asyncio.run, send_many())
        time.sleep(0.5)
        answers = closed_loop(lambda: target.ask(photo), 2, count=sizes.attack_requests)
        sending.result()

    record_property("heap in MiB, memory before, most", (heap, memory.before, memory.most))
    assert statuses(answers) == {200: sizes.attack_requests}
    assert memory.growth < 2 * heap * 2**20
