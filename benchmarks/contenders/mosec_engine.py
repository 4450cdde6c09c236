"""mosec with our decoding and engine: one stage that does both, one worker a core, the body's bytes as they come."""

from __future__ import annotations

import mosec

from benchmarks.contenders.road import Road
from handler.cores import available_cores


class Classify(mosec.Worker):
    def __init__(self) -> None:
        super().__init__()
        self.road = Road.from_environment()

    def deserialize(self, data: bytes) -> bytes:
        return data

    def forward(self, data: list[bytes]) -> list[dict[str, str]]:
        return [{"category": name} for name in self.road.classify([self.road.pixels(photo) for photo in data])]


if __name__ == "__main__":
    server = mosec.Server()
    server.append_worker(Classify, num=available_cores(), max_batch_size=4, max_wait_time=3)
    server.run()
