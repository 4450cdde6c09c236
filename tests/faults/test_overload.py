"""Ten times as many requests as the server can answer, for a while, from clients that do not wait for each other."""

from __future__ import annotations

import time
from typing import Any

import pytest
import requests

from densenet_serving import paths, properties
from densenet_serving.server.torchserve import Server
from tests import pictures
from tests.faults.conftest import Sizes
from tests.faults.load import Target, closed_loop, memory_of, open_loop, percentile, seconds_of, statuses

FACTOR = 10
CLIENTS = 16
PEAK_REQUESTS = 48
BACK_SECONDS, BACK_SHARE = 5, 0.6
# A refusal waits for no worker; a tenth of a queue's length is far more than it takes and far less than an answer.
AT_ONCE = 0.1


@pytest.fixture(scope="module")
def photo() -> bytes:
    """Much to decode and little to send: on one machine the clients would else take the processor from the workers."""
    return pictures.encode(pictures.photo("chelsea").resize((2000, 1500)), quality=50)


def throughput(target: Target, photo: bytes) -> float:
    begun = time.monotonic()
    answers = closed_loop(lambda: target.ask(photo), CLIENTS, count=PEAK_REQUESTS)
    assert statuses(answers) == {200: PEAK_REQUESTS}
    return PEAK_REQUESTS / (time.monotonic() - begun)


def test_ten_times_the_peak(running: Server, photo: bytes, sizes: Sizes, record_property: Any) -> None:
    target = Target(running.endpoint)
    throughput(target, photo)  # to warm up: a peak that is measured too low overloads nothing
    peak = throughput(target, photo)
    message, rate = target.message(photo), FACTOR * peak
    open_loop(target.address, message, rate, sizes.overload_requests // 3)
    before = memory_of(running.pid)
    answers = open_loop(target.address, message, rate, sizes.overload_requests)
    after = memory_of(running.pid)
    # open_loop returns with the last answer, which comes a queue's length after the last request.
    deadline = max(answer.begun for answer in answers) + BACK_SECONDS
    afterwards, begun = 0.0, 0.0
    while afterwards <= BACK_SHARE * peak and begun < deadline:
        begun = time.monotonic()
        afterwards = throughput(target, photo)

    good = [answer for answer in answers if answer.status == requests.codes.ok]
    seconds = max(answer.begun + answer.seconds for answer in good) - min(answer.begun for answer in answers)
    queue = int(properties.read(running.endpoint.folder / paths.SERVER_CONFIG.name)["job_queue_size"])
    queue_seconds = queue * seconds / len(good)
    refused, accepted = seconds_of(answers, 503), percentile(seconds_of(answers), 99)
    record_property("statuses", dict(statuses(answers)))
    record_property("refused, median and p99", (percentile(refused, 50), percentile(refused, 99)))
    record_property("accepted, p99; of the queue", (accepted, queue_seconds))
    record_property("peak, throughput, afterwards", (peak, len(good) / seconds, afterwards))
    record_property("memory before, after", (before, after))
    # Those beyond the queue are refused at once, and the accepted wait no longer than the queue.
    assert set(statuses(answers)) == {200, 503}
    assert all(answer.is_clean() for answer in answers)
    assert percentile(refused, 50) < AT_ONCE * queue_seconds
    assert accepted < 1.5 * queue_seconds
    # Memory stays flat, and full speed is back.
    assert after.keys() == before.keys()
    assert all(after[pid] < (1 + sizes.overload_growth) * before[pid] for pid in before)
    assert afterwards > BACK_SHARE * peak
