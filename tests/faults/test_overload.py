"""Ten times as many requests as the server can answer, for a while, from clients that do not wait for each other."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import psutil
import pytest
import requests

from densenet_serving import paths, properties
from densenet_serving.server.torchserve import Server
from tests import pictures
from tests.faults.conftest import Sizes
from tests.faults.load import Answer, Target, closed_loop, open_loop, percentile, seconds_of, statuses

FACTOR = 10
CLIENTS = 16
PEAK_REQUESTS = 48
BACK_SECONDS, BACK_SHARE = 5, 0.6
# A refusal waits for no worker; a tenth of a queue's length is far more than it takes and far less than an answer.
AT_ONCE = 0.1


@dataclass(frozen=True)
class Overload:
    """`peak` and `afterwards` in answers/s, `queue` in requests, memory in bytes by process."""

    peak: float
    queue: int
    answers: list[Answer]
    before: dict[int, int]
    after: dict[int, int]
    afterwards: float

    @property
    def throughput(self) -> float:
        """Good answers a second, from the first request to the last answer."""
        good = [answer for answer in self.answers if answer.status == requests.codes.ok]
        end = max(answer.begun + answer.seconds for answer in good)
        return len(good) / (end - min(answer.begun for answer in self.answers))


@pytest.fixture(scope="module")
def photo() -> bytes:
    """Much to decode and little to send: on one machine the clients would else take the processor from the workers."""
    return pictures.encode(pictures.photo("chelsea").resize((2000, 1500)), quality=50)


@pytest.fixture(scope="module")
def overload(running: Server, photo: bytes, sizes: Sizes) -> Overload:
    target = Target(running.endpoint)
    queue = int(properties.read(running.endpoint.folder / paths.SERVER_CONFIG.name)["job_queue_size"])
    throughput(target, photo)  # to warm up: a peak that is measured too low overloads nothing
    peak = throughput(target, photo)
    message, rate = target.message(photo), FACTOR * peak
    open_loop(target.address, message, rate, sizes.overload_requests // 3)
    before = memory(running)
    answers = open_loop(target.address, message, rate, sizes.overload_requests)
    after = memory(running)
    # open_loop returns with the last answer, which comes a queue's length after the last request.
    deadline = max(answer.begun for answer in answers) + BACK_SECONDS
    afterwards, begun = 0.0, 0.0
    while afterwards <= BACK_SHARE * peak and begun < deadline:
        begun = time.monotonic()
        afterwards = throughput(target, photo)
    return Overload(peak, queue, answers, before, after, afterwards)


def throughput(target: Target, photo: bytes) -> float:
    begun = time.monotonic()
    answers = closed_loop(lambda: target.ask(photo), CLIENTS, count=PEAK_REQUESTS)
    assert statuses(answers) == {200: PEAK_REQUESTS}
    return PEAK_REQUESTS / (time.monotonic() - begun)


def memory(running: Server) -> dict[int, int]:
    """Return the resident bytes of the JVM and of each worker."""
    java = psutil.Process(running.pid)
    return {process.pid: process.memory_info().rss for process in (java, *java.children())}


def test_those_beyond_the_queue_get_503_at_once(overload: Overload, record_property: Any) -> None:
    refused = seconds_of(overload.answers, 503)
    record_property("statuses", dict(statuses(overload.answers)))
    record_property("refused, median and p99", (percentile(refused, 50), percentile(refused, 99)))
    assert set(statuses(overload.answers)) == {200, 503}
    assert all(answer.is_clean() for answer in overload.answers)
    assert percentile(refused, 50) < AT_ONCE * overload.queue / overload.throughput


def test_the_accepted_wait_no_longer_than_the_queue(overload: Overload, record_property: Any) -> None:
    bound = 1.5 * overload.queue / overload.throughput
    accepted = percentile(seconds_of(overload.answers), 99)
    record_property("peak, throughput, p99, bound", (overload.peak, overload.throughput, accepted, bound))
    assert accepted < bound


def test_memory_stays_flat(overload: Overload, sizes: Sizes, record_property: Any) -> None:
    record_property("before, after", (overload.before, overload.after))
    assert overload.after.keys() == overload.before.keys()
    for pid, before in overload.before.items():
        assert overload.after[pid] < (1 + sizes.overload_growth) * before


def test_full_speed_is_back_within_5_seconds(overload: Overload, record_property: Any) -> None:
    record_property("peak, afterwards", (overload.peak, overload.afterwards))
    assert overload.afterwards > BACK_SHARE * overload.peak
