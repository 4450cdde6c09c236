"""BentoML with our decoding and engine: one worker a core, batching, the photo as an uploaded file."""

from pathlib import Path

import bentoml

from benchmarks.contenders.road import Road
from handler.cores import available_cores

# No `from __future__ import annotations` here: BentoML reads the annotations as types.


@bentoml.service(workers=available_cores(), traffic={"timeout": 60})
class Classifier:
    def __init__(self) -> None:
        self.road = Road.from_environment()

    @bentoml.api(batchable=True, max_batch_size=4, max_latency_ms=60_000)
    def classify(self, images: list[Path]) -> list[str]:
        return self.road.classify([self.road.pixels(path.read_bytes()) for path in images])
