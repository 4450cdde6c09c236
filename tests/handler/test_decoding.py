from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from handler import decoding
from handler.card import Preprocessing
from handler.decoder_process import SIDES, Answer, Task
from handler.decoding import Decoder
from handler.errors import BadRequest, PayloadTooLarge, RequestError, ServiceUnavailable, UnsupportedMediaType
from handler.images import sides
from handler.settings import Settings
from tests.pictures import encode

SPEC = Preprocessing(resize=8, crop=8, interpolation="bilinear", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
SMALL, MEDIUM, LARGER = (encode(Image.new("L", (side, side)), "PNG") for side in (10, 100, 1000))
READY = np.zeros((8, 8, 3), np.uint8)


class Slow:
    """Stands in for all processes: each image takes `seconds` of a clock of its own."""

    def __init__(self, seconds: float) -> None:
        self.now, self.seconds, self.started = 0.0, seconds, 0
        self.widths: list[int] = []
        self.ended_by: int | None = None

    def clock(self) -> float:
        return self.now

    def __call__(self, settings: Settings, spec: Preprocessing) -> SlowProcess:
        self.started += 1
        return SlowProcess(self, settings, spec)


class SlowProcess:
    def __init__(self, shared: Slow, settings: Settings, spec: Preprocessing) -> None:
        self.shared, self.settings, self.spec = shared, settings, spec
        self.alive = True

    def ask(self, task: Task, data: bytes, seconds: float) -> Answer:
        assert self.alive
        try:
            size = sides(data, self.settings)
        except RequestError as error:
            return Answer(error, 0.25)
        if task == b"sides":
            return Answer(SIDES.pack(*size), 0.25)
        self.shared.widths.append(size[0])
        self.shared.now += self.shared.seconds
        if size[0] == self.shared.ended_by:
            self.alive = False
            return Answer(PayloadTooLarge("The image takes too long: send another."), seconds)
        return Answer(bytes([size[0] % 256]) * 3 * self.spec.crop**2, 0.5)


Build = Callable[[float], tuple[Decoder, Slow]]


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Build:
    def build(seconds: float) -> tuple[Decoder, Slow]:
        processes = Slow(seconds)
        monkeypatch.setattr(decoding, "Process", processes)
        return Decoder(Settings(), SPEC, threads=1, clock=processes.clock), processes

    return build


def kinds(items: list[Any]) -> list[Any]:
    return [int(item[0, 0, 0]) if isinstance(item, np.ndarray) else type(item) for item in items]


def test_the_cheapest_comes_first_and_the_order_stays(slow: Build) -> None:
    decoder, processes = slow(1)
    error = BadRequest("no picture: send one.")
    images, seconds = decoder.decode([[LARGER, SMALL], [error, READY, b"text"], [MEDIUM, SMALL]])
    assert processes.widths == [10, 10, 100, 1000]
    assert kinds(images) == [1000 % 256, 10, BadRequest, 0, UnsupportedMediaType, 100, 10]
    assert images[2] is error
    assert seconds == [1.5, 0.25, 1.5]


@pytest.mark.parametrize(
    ("seconds", "decoded"),
    [(1, [10, 10, 100, 1000]), (3, [10, 10, 100, 1000]), (5, [10, 10]), (11, [10]), (60, [10])],
)
def test_past_the_budget_of_time_nothing_more_is_begun(slow: Build, seconds: float, decoded: list[int]) -> None:
    decoder, processes = slow(seconds)
    images, _ = decoder.decode([[LARGER, SMALL], [MEDIUM, READY, SMALL]])
    assert processes.widths == decoded
    refused = [item for item in images if isinstance(item, ServiceUnavailable)]
    assert len(refused) == 4 - len(decoded)
    assert {str(error) for error in refused} <= {decoding.LATE}
    assert kinds(images)[3] == 0


def test_every_batch_has_a_budget_of_its_own(slow: Build) -> None:
    decoder, _ = slow(10)
    assert kinds(decoder.decode([[SMALL, MEDIUM]]).images) == [10, ServiceUnavailable]
    assert kinds(decoder.decode([[MEDIUM]]).images) == [100]


def test_an_image_that_ends_its_process_costs_no_other_request_its_answer(slow: Build) -> None:
    decoder, processes = slow(0)
    processes.ended_by = 100
    images, seconds = decoder.decode([[SMALL, MEDIUM, LARGER], [LARGER, SMALL]])
    assert kinds(images) == [10, PayloadTooLarge, PayloadTooLarge, 1000 % 256, 10]
    assert str(images[2]) == decoding.SPENT
    assert processes.started == 3, "two at first, and one in the place of that which ended"
    assert seconds[0] == pytest.approx(0.75 + 1.5 + 0.25)
    assert kinds(decoder.decode([[SMALL]]).images) == [10]


def test_large_images_are_decoded_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each may take half a gigabyte, and a worker of a large machine has many threads."""
    now, at_once = set[str](), list[int]()

    class Process(SlowProcess):
        def ask(self, task: Task, data: bytes, seconds: float) -> Answer:
            if task == b"sides":
                return super().ask(task, data, seconds)
            name = threading.current_thread().name
            now.add(name)
            at_once.append(len(now))
            time.sleep(0.01)
            now.discard(name)
            return super().ask(task, data, seconds)

    shared = Slow(0)
    monkeypatch.setattr(decoding, "Process", lambda *arguments: Process(shared, *arguments))
    large = encode(Image.new("L", (5001, 5001)), "PNG")
    Decoder(Settings(), SPEC, threads=4).decode([[large], [large], [large], [large]])
    assert at_once == [1] * 4
