"""Photos sent to one address at a fixed rate, whether or not earlier ones have been answered; one JSON line an answer.

    python -m tests.hosts.load URL PHOTO RATE COUNT

A program of its own, because it runs on another machine than the tests: in the load balancer's network namespace.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from tests.hosts.network import Machine

CUT_OFF = 0  # in the place of a status: the connection ended without an answer
TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Sent:
    """One photo's outcome. `begun` is a time of time.monotonic(), `name` the class named, "" for none."""

    begun: float
    seconds: float
    status: int
    name: str

    @property
    def ended(self) -> float:
        return self.begun + self.seconds


class Load:
    """Photos on their way, sent from a machine while the test does something else."""

    def __init__(self, machine: Machine, url: str, photo: Path, rate: float, count: int) -> None:
        arguments: list[str | Path] = [sys.executable, "-m", "tests.hosts.load", url, photo, str(rate), str(count)]
        self._process = subprocess.Popen(machine.command(arguments), stdout=subprocess.PIPE, text=True)
        self._seconds = count / rate + TIMEOUT_SECONDS

    def answers(self) -> list[Sent]:
        """Wait for the last answer."""
        lines, _ = self._process.communicate(timeout=self._seconds)
        assert self._process.returncode == 0
        return [Sent(**json.loads(line)) for line in lines.splitlines()]


async def send(client: httpx.AsyncClient, url: str, photo: bytes) -> Sent:
    begun = time.monotonic()
    try:
        response = await client.post(url, files={"file": photo})
    except httpx.TransportError:
        return Sent(begun, time.monotonic() - begun, CUT_OFF, "")
    seconds = time.monotonic() - begun
    name = response.json()["class_name"] if response.is_success else ""
    return Sent(begun, seconds, response.status_code, name)


async def send_all(url: str, photo: bytes, rate: float, count: int) -> list[Sent]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, limits=limits, trust_env=False) as client:
        start = time.monotonic()
        tasks = []
        for i in range(count):
            await asyncio.sleep(max(0.0, start + i / rate - time.monotonic()))
            tasks.append(asyncio.create_task(send(client, url, photo)))
        return await asyncio.gather(*tasks)


def main(arguments: Sequence[str]) -> None:
    url, photo, rate, count = arguments
    for sent in asyncio.run(send_all(url, Path(photo).read_bytes(), float(rate), int(count))):
        print(json.dumps(asdict(sent)))


if __name__ == "__main__":
    main(sys.argv[1:])
