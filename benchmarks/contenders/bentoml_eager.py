"""BentoML as documented: one service with a batchable API that takes pictures, eager PyTorch on every core.

https://docs.bentoml.com/en/latest/get-started/adaptive-batching.html
"""

import bentoml
import torch
from PIL.Image import Image

from benchmarks.contenders.eager import TRANSFORM, best_classes, load_model, load_names

# No `from __future__ import annotations` here: BentoML reads the annotations as types.


@bentoml.service(traffic={"timeout": 60})
class Classifier:
    def __init__(self) -> None:
        self.model = load_model()
        self.names = load_names()

    @bentoml.api(batchable=True, max_batch_size=8, max_latency_ms=60_000)
    def classify(self, images: list[Image]) -> list[str]:
        batch = torch.stack([TRANSFORM(image.convert("RGB")) for image in images])
        return [self.names[best] for best in best_classes(self.model, batch)]
