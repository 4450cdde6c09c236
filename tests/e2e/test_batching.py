"""Many clients at once: their requests share batches, and each gets the answer that it gets alone."""

from __future__ import annotations

import base64
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from densenet_serving.options import STAND_IN
from densenet_serving.server import torchserve
from tests.e2e.support import Inference
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("same_workers")

TIMES, CLIENTS = 4, 16
V1, V2, EXPLAIN = f"/v1/models/{STAND_IN}:predict", f"/v2/models/{STAND_IN}/infer", f"/explanations/{STAND_IN}"


def without_numbers(answer: Any) -> Any:
    """Drop what the numbers decide: bf16 sums in another order when a batch is larger."""
    if isinstance(answer, dict):
        kept = {
            name: without_numbers(value) for name, value in answer.items() if name not in ("probability", "overlay")
        }
        return kept | {"data": None} if answer.get("datatype") == "FP32" else kept
    return [without_numbers(item) for item in answer] if isinstance(answer, list) else answer


def settled(logs: Path, least: int = 0) -> tuple[int, int]:
    """Return TorchServe's own count of batches and of requests, once there are so many and its log grows no more."""
    counts = [(-1, -1)]

    def is_settled() -> bool:
        time.sleep(0.2)
        batches = (logs / "ts_log.log").read_text().count("Backend response time:")
        counts.append((batches, (logs / "access_log.log").read_text().count('"P')))  # POST, PUT
        return counts[-1] == counts[-2] and counts[-1][1] >= least

    until(is_settled)
    return counts[-1]


def test_requests_of_every_kind_share_batches(
    inference: Inference, photos: dict[str, bytes], running: torchserve.Server
) -> None:
    encoded = base64.b64encode(photos["chelsea"]).decode()
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [encoded]}
    kinds: list[dict[str, Any]] = [
        *({"body": photo, "headers": {"Top-K": "3"}} for photo in photos.values()),
        {"body": photos["chelsea"], "path": EXPLAIN, "headers": {"Content-Type": "image/jpeg"}},
        {"path": V1, "json": {"instances": [{"b64": encoded}]}},
        {"path": V2, "json": {"inputs": [tensor]}},
        {"path": V2, "json": {"inputs": [tensor | {"data": ["#"]}]}},
        {"body": b""},
        {"body": b"hello"},
        {"body": photos["chelsea"][:5000]},
    ]
    alone = [inference(**kind) for kind in kinds]
    assert {answer.status_code for answer in alone} == {200, 400, 415}
    batches, requests = settled(running.logs)

    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(lambda kind: inference(**kind), kinds * TIMES))

    for answer, expected in zip(answers, alone * TIMES, strict=True):
        assert answer.status_code == expected.status_code
        assert without_numbers(answer.json()) == without_numbers(expected.json())
        if "predictions" in expected.json() and "probability" in expected.json():
            assert answer.json()["probability"] == pytest.approx(expected.json()["probability"], abs=1e-3)
    batches_after, requests_after = settled(running.logs, requests + len(answers))
    assert requests_after - requests == len(answers)
    assert batches_after - batches < len(answers), "every request was a batch of its own: this test proved nothing"
