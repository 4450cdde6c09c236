"""Photos sent to one address at a fixed rate, whether or not earlier ones have been answered; one JSON line an answer.

    python -m tests.hosts.load URL PHOTO RATE COUNT

A program of its own, because it runs on another machine than the tests: in the load balancer's network namespace.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests

from tests.faults.load import TIMEOUT_SECONDS, Answer, open_loop
from tests.hosts.network import Machine


@dataclass(frozen=True)
class Sent:
    """One photo's outcome. `begun` and `ended` are times of time.monotonic(), `name` the class named or ""."""

    begun: float
    ended: float
    status: int
    retry_after: str
    name: str
    error: str  # the body of any other answer

    @classmethod
    def of(cls, answer: Answer) -> Sent:
        body = answer.body.decode()
        name, error = (json.loads(body)["class_name"], "") if answer.status == requests.codes.ok else ("", body)
        return cls(answer.begun, answer.begun + answer.seconds, answer.status, answer.retry_after, name, error)

    @property
    def seconds(self) -> float:
        return self.ended - self.begun


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


def message_of(url: str, photo: bytes) -> bytes:
    """Lay out a form with one photo as it goes over the wire."""
    request = requests.Request("POST", url, {"Host": urlsplit(url).netloc}, files={"file": photo}).prepare()
    assert isinstance(request.body, bytes)
    lines = [f"POST {request.path_url} HTTP/1.1", *(f"{name}: {value}" for name, value in request.headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + request.body


def main(arguments: Sequence[str]) -> None:
    url, photo, rate, count = arguments
    address = urlsplit(url)
    message = message_of(url, Path(photo).read_bytes())
    for answer in open_loop((str(address.hostname), int(address.port or 0)), message, float(rate), int(count)):
        print(json.dumps(asdict(Sent.of(answer))))


if __name__ == "__main__":
    main(sys.argv[1:])
