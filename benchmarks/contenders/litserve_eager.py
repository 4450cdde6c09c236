"""LitServe as documented: workers that batch, one a core, base64 in JSON, eager PyTorch.

https://lightning.ai/docs/litserve/speed-up-serving-by-200x
https://lightning.ai/docs/litserve/features/batching
"""

from __future__ import annotations

import base64
import os

import litserve
import torch

from benchmarks.contenders.eager import best_classes, load_model, load_names, transform
from handler.cores import available_cores


class ImageClassifier(litserve.LitAPI):
    def setup(self, device: str) -> None:  # noqa: ARG002 - there is only the CPU
        self.model = load_model()
        self.names = load_names()

    def decode_request(self, request: dict[str, str]) -> torch.Tensor:
        return transform(base64.b64decode(request["image_data"]))

    def batch(self, inputs: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack(inputs)

    def predict(self, x: torch.Tensor) -> list[int]:
        return best_classes(self.model, x)

    def unbatch(self, output: list[int]) -> list[int]:
        return output

    def encode_response(self, output: int) -> dict[str, str]:
        return {"class_name": self.names[output]}


if __name__ == "__main__":
    api = ImageClassifier(max_batch_size=8, batch_timeout=0.01)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=available_cores())
    server.run(host="127.0.0.1", port=int(os.environ["PORT"]), generate_client_file=False)
