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
from handler.decoding import Decoder
from handler.errors import BadRequest, ServiceUnavailable, UnsupportedMediaType
from handler.formats.picture import Picture
from handler.memory import LARGE
from handler.settings import Settings
from tests.pictures import encode

SPEC = Preprocessing(resize=8, crop=8, interpolation="bilinear", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
SMALL, MEDIUM, LARGER = (encode(Image.new("L", (side, side)), "PNG") for side in (10, 100, 1000))
READY = np.zeros((8, 8, 3), np.uint8)


class SlowRender:
    """Stands in for `render`: each image takes `seconds` of a clock of its own."""

    def __init__(self, seconds: float) -> None:
        self.now, self.seconds = 0.0, seconds
        self.widths: list[int] = []

    def clock(self) -> float:
        return self.now

    def __call__(self, image: Picture, *_: Any) -> Image.Image:
        self.widths.append(image.width)
        self.now += self.seconds
        return Image.new("RGB", (8, 8), (image.width % 256,) * 3)


Slow = Callable[[float], tuple[Decoder, SlowRender]]


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    def build(seconds: float) -> tuple[Decoder, SlowRender]:
        render = SlowRender(seconds)
        monkeypatch.setattr(decoding, "render", render)
        return Decoder(Settings(decode_seconds=10), SPEC, threads=1, clock=render.clock), render

    return build


def kinds(items: list[Any]) -> list[Any]:
    return [int(item[0, 0, 0]) if isinstance(item, np.ndarray) else type(item) for item in items]


def test_the_cheapest_comes_first_and_the_order_stays(slow: Slow) -> None:
    decoder, render = slow(1)
    error = BadRequest("no picture: send one.")
    pixels = decoder.decode([[LARGER, SMALL], [error, READY, b"text"], [MEDIUM, SMALL]])
    assert render.widths == [10, 10, 100, 1000]
    assert kinds(pixels) == [1000 % 256, 10, BadRequest, 0, UnsupportedMediaType, 100, 10]
    assert pixels[2] is error


@pytest.mark.parametrize(
    ("seconds", "decoded"),
    [(1, [10, 10, 100, 1000]), (3, [10, 10, 100, 1000]), (5, [10, 10]), (11, [10]), (60, [10])],
)
def test_past_the_budget_of_time_nothing_more_is_begun(slow: Slow, seconds: float, decoded: list[int]) -> None:
    decoder, render = slow(seconds)
    pixels = decoder.decode([[LARGER, SMALL], [MEDIUM, READY, SMALL]])
    assert render.widths == decoded
    refused = [item for item in pixels if isinstance(item, ServiceUnavailable)]
    assert len(refused) == 4 - len(decoded)
    assert {str(error) for error in refused} <= {"The server is busy with large pictures: send this one again."}
    assert kinds(pixels)[3] == 0


def test_every_batch_has_a_budget_of_its_own(slow: Slow) -> None:
    decoder, _ = slow(10)
    assert kinds(decoder.decode([[SMALL, MEDIUM]])) == [10, ServiceUnavailable]
    assert kinds(decoder.decode([[MEDIUM]])) == [100]


def test_large_images_are_decoded_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each may take half a gigabyte, and a worker of a large machine has many threads."""
    now, at_once = set[str](), list[int]()

    def render(picture: Picture, *_: Any) -> Image.Image:
        assert picture.memory > LARGE
        name = threading.current_thread().name
        now.add(name)
        at_once.append(len(now))
        time.sleep(0.01)
        now.discard(name)
        return Image.new("RGB", (8, 8), "red")

    monkeypatch.setattr(decoding, "render", render)
    large = encode(Image.new("L", (4500, 4500)), "PNG")
    Decoder(Settings(), SPEC, threads=4).decode([[large] * 4])
    assert at_once == [1] * 4
