"""Load made by the tests: so many clients that wait for their answers, or requests at a fixed rate that do not wait."""

from __future__ import annotations

import asyncio
import json
import re
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import psutil
import requests

from densenet_serving.client.endpoint import Endpoint
from densenet_serving.options import STAND_IN

TIMEOUT_SECONDS = 60
CUT_OFF = 0  # in the place of a status: the connection ended without an answer


@dataclass(frozen=True)
class Answer:
    """One request's outcome. `begun` is a time of time.monotonic(), `retry_after` the header's text or ""."""

    status: int
    body: bytes
    begun: float
    seconds: float
    retry_after: str = ""

    def is_clean(self) -> bool:
        """Tell whether a client can read it: a prediction, or an error of TorchServe's shape with its own status."""
        try:
            content: dict[str, Any] = json.loads(self.body)
        except ValueError:
            return False
        if self.status == requests.codes.ok:
            return "class_id" in content
        return set(content) == {"code", "type", "message"} and content["code"] == self.status


def statuses(answers: Iterable[Answer]) -> Counter[int]:
    return Counter(answer.status for answer in answers)


def seconds_of(answers: Iterable[Answer], status: int = 200) -> list[float]:
    return sorted(answer.seconds for answer in answers if answer.status == status)


def percentile(values: list[float], share: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[share - 1]


def post(url: str, **options: Any) -> Answer:
    begun = time.monotonic()
    try:
        response = requests.post(url, timeout=TIMEOUT_SECONDS, **options)
    except requests.ConnectionError as error:
        return Answer(CUT_OFF, str(error).encode(), begun, time.monotonic() - begun)
    return Answer(response.status_code, response.content, begun, time.monotonic() - begun)


class Target:
    """The inference API of one server, as the raw bytes of a request and as a function that sends one and waits."""

    def __init__(self, endpoint: Endpoint, model: str = STAND_IN) -> None:
        self.url = f"{endpoint.inference}/predictions/{model}"
        self.headers = {"Authorization": f"Bearer {endpoint.token('inference')}", "Content-Type": "image/jpeg"}
        parts = urlsplit(self.url)
        self.address = (str(parts.hostname), int(parts.port or 0))
        self.path = parts.path

    def ask(self, photo: bytes) -> Answer:
        return post(self.url, data=photo, headers=self.headers)

    def message(self, photo: bytes, length: int | None = None) -> bytes:
        """Lay a request out as it goes over the wire, with a Content-Length that may be wrong."""
        headers = self.headers | {"Host": "localhost", "Content-Length": str(len(photo) if length is None else length)}
        lines = [f"POST {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + photo


@contextmanager
def repeatedly(act: Callable[[], None], seconds: float = 0.02) -> Iterator[None]:
    """Do something every so many seconds meanwhile."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(seconds):
            act()

    with ThreadPoolExecutor(1) as pool:
        acting = pool.submit(run)
        try:
            yield
        finally:
            stop.set()
        acting.result()


def memory_of(pid: int) -> dict[int, int]:
    """Return the resident bytes of a process and of each of its children."""
    parent = psutil.Process(pid)
    return {process.pid: process.memory_info().rss for process in (parent, *parent.children())}


def closed_loop(
    ask: Callable[[], Answer], clients: int, *, count: int = 0, stop: threading.Event | None = None, pause: float = 0
) -> list[Answer]:
    """Let clients send one request after another: `count` in all, or until `stop` is set.

    Each waits for `pause` seconds after an answer.
    """
    remaining = iter(range(count)) if stop is None else None

    def client(_: int) -> list[Answer]:
        answers = []
        while (next(remaining, None) is not None) if remaining else not (stop and stop.is_set()):
            answers.append(ask())
            time.sleep(pause)
        return answers

    with ThreadPoolExecutor(clients) as pool:
        return [answer for answers in pool.map(client, range(clients)) for answer in answers]


def open_loop(address: tuple[str, int], message: bytes, rate: float, count: int) -> list[Answer]:
    """Begin `rate` requests a second, evenly spaced, whether or not earlier ones have been answered.

    Written on bare sockets: at ten times a server's peak a client library would take the processor from the server.
    """

    async def run() -> list[Answer]:
        start = time.monotonic()
        sent = []
        for i in range(count):
            await asyncio.sleep(max(0.0, start + i / rate - time.monotonic()))
            sent.append(asyncio.create_task(_send(address, message)))
        return await asyncio.gather(*sent)

    return asyncio.run(run())


async def _send(address: tuple[str, int], message: bytes) -> Answer:
    begun = time.monotonic()
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            reader, writer = await asyncio.open_connection(*address)
            try:
                writer.write(message)
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(int(_header(head, b"content-length") or 0))
            finally:
                writer.close()
    except (OSError, asyncio.IncompleteReadError) as error:
        return Answer(CUT_OFF, repr(error).encode(), begun, time.monotonic() - begun)
    seconds = time.monotonic() - begun
    return Answer(int(head.split(b" ", 2)[1]), body, begun, seconds, _header(head, b"retry-after").decode())


def _header(head: bytes, name: bytes) -> bytes:
    found = re.search(rb"^%s: *(.*)\r$" % name, head, re.IGNORECASE | re.MULTILINE)
    return found[1] if found else b""
