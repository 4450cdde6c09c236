"""Many clients at once: their requests share batches, and none of them notices."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from densenet_serving.server import torchserve
from tests.e2e.support import Inference, content_of
from tests.errors import check_error

pytestmark = pytest.mark.usefixtures("same_workers")

REQUESTS = 32
CLIENTS = 16
PATIENCE_SECONDS = 10
BAD: dict[str, tuple[bytes, int, str]] = {
    "empty": (b"", 400, "0 bytes"),
    "text": (b"hello", 415, "send JPEG"),
    "cut short": (b"\xff\xd8\xff\xe0", 400, "cut short"),
}


def lines_with(log: Path, text: str) -> int:
    return log.read_text().count(text)


def ask(inference: Inference, image: bytes) -> requests.Response:
    return inference(image, headers={"Top-K": "3"})


def probabilities(answer: Any) -> dict[str, float]:
    return {one["class_id"]: one["probability"] for one in answer["predictions"]}


def test_good_and_bad_requests_share_batches(
    inference: Inference, photos: dict[str, bytes], running: torchserve.Server
) -> None:
    alone = {name: probabilities(content_of(ask(inference, image))) for name, image in photos.items()}
    images = photos | {name: image for name, (image, _, _) in BAD.items()}
    names = list(itertools.islice(itertools.cycle(images), REQUESTS))
    batches_before, requests_before = wait_for_quiet(running.logs)

    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(lambda name: ask(inference, images[name]), names))

    for name, answer in zip(names, answers, strict=True):
        if name in BAD:
            _, status, message = BAD[name]
            assert answer.status_code == status
            check_error(answer.json(), status, message)
        else:
            # bf16 sums in another order when a batch is larger.
            assert probabilities(content_of(answer)) == pytest.approx(alone[name], abs=1e-3)
    batches, done = wait_for_quiet(running.logs, requests_before + REQUESTS)
    assert done - requests_before == REQUESTS
    assert batches - batches_before < REQUESTS, "every request was a batch of its own: this test proved nothing"


def wait_for_quiet(logs: Path, least: int = 0) -> tuple[int, int]:
    """Return TorchServe's own count of batches and of predictions, once its log has caught up."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    counts, before = (0, 0), (-1, -1)
    while (counts != before or counts[1] < least) and time.monotonic() < deadline:
        time.sleep(0.2)
        before = counts
        batches = lines_with(logs / "ts_log.log", "Backend response time:")
        counts = batches, lines_with(logs / "access_log.log", '"POST /predictions/')
    return counts
