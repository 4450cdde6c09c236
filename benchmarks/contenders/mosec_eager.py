"""mosec as documented: a preprocessing stage ahead of a batching inference stage, one worker of it a core.

Base64 in JSON, eager PyTorch.
https://mosecorg.github.io/mosec/examples/pytorch.html (ResNet50)
"""

from __future__ import annotations

import base64

import mosec
import torch

from benchmarks.contenders.eager import best_classes, load_model, load_names, transform
from handler.cores import available_cores


class Preprocess(mosec.Worker):
    def forward(self, data: dict[str, str]) -> torch.Tensor:
        return transform(base64.b64decode(data["image"]))


class Inference(mosec.Worker):
    def __init__(self) -> None:
        super().__init__()
        self.model = load_model()
        self.names = load_names()

    def forward(self, data: list[torch.Tensor]) -> list[dict[str, str]]:
        return [{"category": self.names[best]} for best in best_classes(self.model, torch.stack(data))]


if __name__ == "__main__":
    server = mosec.Server()
    server.append_worker(Preprocess)
    server.append_worker(Inference, num=available_cores(), max_batch_size=16, max_wait_time=10)
    server.run()
