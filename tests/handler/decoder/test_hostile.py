"""No file of tests/handler/hostile.py costs more than its limits of time and memory, or another photo."""

from __future__ import annotations

import struct
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from handler.card import Preprocessing
from handler.decoding import Decoder
from handler.errors import RequestError
from handler.settings import Settings
from tests.handler.heic import SIDE, grid, heic_of, size, tile
from tests.handler.hostile import BAD, FILES, GOOD, HEAVY, LARGE, box
from tests.pictures import encode, noise

SPEC = Preprocessing(resize=255, crop=224, interpolation="bilinear", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
PHOTO = encode(noise(), "PNG")


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return Decoder(Settings(), SPEC, threads=1)


def check(decoder: Decoder, data: bytes, statuses: set[int]) -> None:
    [[image], [seconds]] = decoder.decode([[data]])
    if isinstance(image, RequestError):
        assert image.status in statuses, image
        assert ": send " in str(image)
        assert str(image).endswith(".")
        assert len(str(image)) < 300
        assert "\n" not in str(image)
    else:
        assert 200 in statuses
        assert image.shape == (224, 224, 3)
    assert seconds <= 1.6, "the kernel looks at its timers a few times a second"
    assert isinstance(decoder.decode([[PHOTO]]).images[0], np.ndarray)


@pytest.mark.parametrize("name", FILES)
def test_no_file_costs_more_than_its_limits(decoder: Decoder, name: str) -> None:
    build, statuses = FILES[name]
    check(decoder, build(), statuses)


def larger_inside() -> bytes:
    """A file whose boxes say one size and whose HEVC another, larger one."""
    data = encode(Image.new("L", (3_000, 2_000), 9), "HEIF")
    said = b"ispe" + struct.pack(">III", 0, 3_000, 2_000)
    return data.replace(said, b"ispe" + struct.pack(">III", 0, 64, 64))


def frames(number: int) -> bytes:
    content, configuration = tile()
    return heic_of([(b"hvc1", content * number)], [size(SIDE, SIDE), configuration], [[1, 0x82]])


def grid_of_grids() -> bytes:
    content = struct.pack(">BBBBHH", 0, 0, 0, 0, SIDE, SIDE)
    reference = box(b"iref", bytes(4) + box(b"dimg", struct.pack(">HHH", 1, 1, 1)))
    return heic_of([(b"grid", content)], [size(SIDE, SIDE)], [[1]], reference)


def many_parameter_sets() -> bytes:
    content, configuration = tile()
    known = bytearray(configuration)
    known[8 + 22] = 200
    long = box(b"hvcC", bytes(known[8 : 8 + 23]) + struct.pack(">BH", 33, 60_000) * 200)
    return heic_of([(b"hvc1", content)], [size(SIDE, SIDE), long], [[1, 0x82]])


HEIC: dict[str, tuple[Callable[[], bytes], set[int]]] = {
    "larger inside": (larger_inside, GOOD | BAD),
    "frames": (lambda: frames(5_000), HEAVY),
    "grid larger than it says": (lambda: grid(100, 100, (64, 64), tiles=1), HEAVY),
    "900 megapixels": (lambda: grid(1, 1, (30_000, 30_000)), LARGE | BAD),
    "40,000 tiles": (lambda: grid(200, 200), HEAVY),
    "one tile of noise": (lambda: grid(13, 13, picture=noise(512, 512), tiles=1), HEAVY),
    "tiles of noise": (lambda: grid(9, 9, picture=noise(512, 512)), HEAVY),
    "grid of itself": (grid_of_grids, BAD),
    "parameter sets": (many_parameter_sets, GOOD | BAD),
}


@pytest.mark.skipif(find_spec("pillow_heif") is None, reason="pip install pillow-heif")
@pytest.mark.parametrize("name", HEIC)
def test_no_heic_costs_more_than_its_limits(decoder: Decoder, name: str) -> None:
    build, statuses = HEIC[name]
    check(decoder, build(), statuses)
