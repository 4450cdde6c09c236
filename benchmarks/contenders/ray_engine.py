"""Ray Serve with our decoding and engine: one replica a core, batching, the photo as the body."""

import os
import signal

from ray import serve
from starlette.requests import Request

from benchmarks.contenders.road import Road
from handler.cores import available_cores


@serve.deployment(num_replicas=available_cores(), ray_actor_options={"num_cpus": 1}, max_ongoing_requests=64)
class Classifier:
    def __init__(self) -> None:
        self.road = Road.from_environment()

    @serve.batch(max_batch_size=4, batch_wait_timeout_s=0.003)
    async def classify(self, photos: list[bytes]) -> list[str]:
        return self.road.classify([self.road.pixels(photo) for photo in photos])

    async def __call__(self, request: Request) -> str:
        name: str = await self.classify(await request.body())
        return name


if __name__ == "__main__":
    serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["PORT"])})
    serve.run(Classifier.bind())  # type: ignore[attr-defined]  # the decorator made it a Deployment
    signal.pause()
