"""Ray Serve as documented: two replicas that batch requests, the photo as the body, eager PyTorch.

https://docs.ray.io/en/latest/serve/advanced-guides/dyn-req-batch.html
https://docs.ray.io/en/latest/serve/tutorials/serve-ml-models.html (the PyTorch one)
Ray itself gives each replica as many threads as it has CPUs.
"""

import os
import signal

import torch
from ray import serve
from starlette.requests import Request

from benchmarks.contenders.eager import best_classes, load_model, load_names, transform


@serve.deployment(num_replicas=2, ray_actor_options={"num_cpus": 1}, max_ongoing_requests=64)
class Classifier:
    def __init__(self) -> None:
        self.model = load_model()
        self.names = load_names()

    @serve.batch(max_batch_size=8, batch_wait_timeout_s=0.01)
    async def classify(self, photos: list[bytes]) -> list[str]:
        batch = torch.stack([transform(photo) for photo in photos])
        return [self.names[best] for best in best_classes(self.model, batch)]

    async def __call__(self, request: Request) -> str:
        name: str = await self.classify(await request.body())
        return name


if __name__ == "__main__":
    serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["PORT"])})
    serve.run(Classifier.bind())  # type: ignore[attr-defined]  # the decorator made it a Deployment
    signal.pause()
