"""What Prometheus reads is what happened."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from densenet_serving.options import STAND_IN
from densenet_serving.server import torchserve
from handler.metrics import BATCH, DECODE, IMAGES, INFERENCE
from tests.e2e.support import Inference
from tests.pictures import encode, noise
from tests.waiting import until

REQUESTS = 24
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
Rise = Callable[..., float]


def scrape(running: torchserve.Server) -> Samples:
    text = requests.get(f"{running.endpoint.metrics}/metrics", timeout=10).text
    families = text_string_to_metric_families(text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def total(samples: Samples, name: str, **labels: str) -> float:
    return sum(value for (sample, having), value in samples.items() if sample == name and labels.items() <= set(having))


@pytest.fixture
def rise(running: torchserve.Server) -> Rise:
    """Return by how much a metric of the stand-in has risen since the test began, once it has risen `least`."""
    before = scrape(running)

    def rise(name: str, least: float = 1, **labels: str) -> float:
        start = total(before, name, **labels)
        return until(lambda: (now := total(scrape(running), name, **labels)) >= start + least and now) - start

    return rise


def test_every_image_is_counted_by_its_outcome(inference: Inference, cat: bytes, rise: Rise) -> None:
    inference(files={"a": cat, "b": encode(noise()), "c": b"hello", "d": cat[:500]}, headers={"Min-Probability": "0.2"})
    inference(encode(noise()), headers={"Min-Probability": "1"})
    inference(b"")
    inference(encode(Image.new("1", (8000, 8000)), "PNG"))

    expected = {
        ("rejected", "PayloadTooLarge"): 1,
        ("rejected", "UnsupportedMediaType"): 1,
        ("rejected", "BadRequest"): 2,
    }
    for (outcome, reason), images in expected.items():
        assert rise(IMAGES, images, model_name=STAND_IN, outcome=outcome, reason=reason) == images
    assert rise(IMAGES, 7, model_name=STAND_IN) == 7
    assert rise(IMAGES, 1, model_name=STAND_IN, outcome="recognized") >= 1
    assert rise(IMAGES, 1, model_name=STAND_IN, outcome="unrecognized") >= 1


def test_the_stages_are_timed_once_a_batch(inference: Inference, cat: bytes, rise: Rise) -> None:
    began = time.monotonic()
    answers = [inference(files={"a": cat, "b": cat}), inference(cat), inference(b"no image")]
    took = time.monotonic() - began

    assert [answer.status_code for answer in answers] == [200, 200, 415]
    assert rise(f"{DECODE}_count", 3, model_name=STAND_IN) == 3
    assert rise(f"{INFERENCE}_count", 2, model_name=STAND_IN) == 2
    assert rise(f"{BATCH}_count", 2, model_name=STAND_IN) == 2
    assert rise(f"{BATCH}_sum", 3, model_name=STAND_IN) == 3
    spent = [rise(f"{name}_sum", 1e-6, model_name=STAND_IN) for name in (DECODE, INFERENCE)]
    assert 0 < min(spent) < sum(spent) < took


def test_torchserves_own_queue_time_is_true(inference: Inference, cat: bytes, rise: Rise) -> None:
    """One worker, many clients: a request waits most of its time, and never longer than its client did."""

    def ask(_: int) -> float:
        began = time.monotonic()
        assert inference(cat).status_code == 200
        return time.monotonic() - began

    with ThreadPoolExecutor(REQUESTS) as pool:
        waited = sum(pool.map(ask, range(REQUESTS)))

    assert rise("QueueTime_count", REQUESTS) == REQUESTS
    queued = rise("ts_queue_latency_microseconds_total", model_name=STAND_IN) / 1e6
    served = rise("ts_inference_latency_microseconds_total", model_name=STAND_IN) / 1e6
    assert 0 < queued < served < waited
    assert rise("QueueTime_sum") / 1e3 == pytest.approx(queued, abs=REQUESTS * 1e-3)


def test_a_refused_requests_line_has_its_id_and_nothing_of_its_content(
    inference: Inference, running: torchserve.Server
) -> None:
    refused = inference(b"a secret", headers={"X-Secret": "another secret"})

    line = f"request_id={refused.headers['x-request-id']} status=415"
    until(lambda: line in (running.logs / "model_log.log").read_text())
    assert [log.name for log in running.logs.glob("*.log") if "secret" in log.read_text()] == []
