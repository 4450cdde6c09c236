"""LitServe with our decoding and engine: one worker a core, batching."""

from __future__ import annotations

import base64
import os

import litserve
import numpy as np
from numpy.typing import NDArray

from benchmarks.contenders.road import Road
from handler.cores import available_cores

Pixels = NDArray[np.uint8]


class ImageClassifier(litserve.LitAPI):
    def setup(self, device: str) -> None:  # noqa: ARG002 - there is only the CPU
        self.road = Road.from_environment()

    def decode_request(self, request: dict[str, str]) -> Pixels:
        return self.road.pixels(base64.b64decode(request["image_data"]))

    def batch(self, inputs: list[Pixels]) -> list[Pixels]:
        return inputs

    def predict(self, x: list[Pixels]) -> list[str]:
        return self.road.classify(x)

    def unbatch(self, output: list[str]) -> list[str]:
        return output

    def encode_response(self, output: str) -> dict[str, str]:
        return {"class_name": output}


if __name__ == "__main__":
    api = ImageClassifier(max_batch_size=4, batch_timeout=0.003)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=available_cores())
    server.run(host="127.0.0.1", port=int(os.environ["PORT"]), generate_client_file=False)
