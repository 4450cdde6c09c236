"""BentoML as documented: a service with a batchable API that takes pictures, one worker a core.

https://docs.bentoml.com/en/latest/get-started/adaptive-batching.html
https://docs.bentoml.com/en/latest/build-with-bentoml/parallelize-requests.html
"""

import bentoml
import torch
from PIL.Image import Image

from benchmarks.contenders.eager import TRANSFORM, best_classes, load_model, load_names
from handler.cores import available_cores

# No `from __future__ import annotations` here: BentoML reads the annotations as types.


@bentoml.service(workers=available_cores(), traffic={"timeout": 60})
class Classifier:
    def __init__(self) -> None:
        self.model = load_model()
        self.names = load_names()

    @bentoml.api(batchable=True, max_batch_size=8, max_latency_ms=60_000)
    def classify(self, images: list[Image]) -> list[str]:
        batch = torch.stack([TRANSFORM(image.convert("RGB")) for image in images])
        return [self.names[best] for best in best_classes(self.model, batch)]
