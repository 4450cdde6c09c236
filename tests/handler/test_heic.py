"""HEIC, which phones write: read if pillow-heif is there, and refused by name if not."""

from __future__ import annotations

import struct
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from PIL import Image

from handler import images
from handler.errors import BadRequest, UnsupportedMediaType
from handler.images import decode
from tests.handler.hostile import SIDE, box, boxes_of, grid, size, tile
from tests.handler.images import RED, RESIZE, SETTINGS, WHITE, pixel, refusal, turned
from tests.pictures import encode, noise

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
needed = pytest.mark.skipif(find_spec("pillow_heif") is None, reason="pip install pillow-heif")


def near(found: Any, color: tuple[int, int, int]) -> bool:
    return bool(np.abs(np.subtract(found, color)).max() < 8)


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"hevc", b"mif1"])
def test_without_its_package_it_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, brand: bytes) -> None:
    monkeypatch.setattr(images, "FORMATS", tuple(name for name in images.FORMATS if name != "HEIF"))
    assert "HEIC" in refusal(HEIC.replace(b"heic", brand, 1) + bytes(100), UnsupportedMediaType)


@needed
@pytest.mark.parametrize(
    ("image", "options", "expected"),
    [
        (Image.new("RGB", (90, 60), RED), {}, RED),
        (Image.new("RGB", (90, 60), RED), {"chroma": 444}, RED),
        (Image.new("L", (90, 60), 90), {}, (90, 90, 90)),
        (Image.new("RGBA", (90, 60), (0, 0, 0, 0)), {}, WHITE),
        (Image.fromarray(np.full((60, 90), 32_768, np.uint16)), {}, (128, 128, 128)),
    ],
    ids=["RGB", "RGB 4:4:4", "L", "RGBA", "I;16"],
)
def test_every_kind_becomes_rgb_over_white(
    image: Image.Image, options: dict[str, int], expected: tuple[int, int, int]
) -> None:
    data = encode(image, "HEIF", **options)
    assert decode(data, SETTINGS, RESIZE).size == (90, 60)
    assert near(pixel(data, 80, 50), expected)


@needed
def test_it_is_turned_once_as_its_own_boxes_say() -> None:
    data = encode(noise(90, 60), "HEIF", exif=turned(6).tobytes())
    assert b"Exif" in data
    assert decode(data, SETTINGS, RESIZE).size == (60, 90)


@needed
def test_a_grid_of_tiles_as_phones_write_it() -> None:
    data = grid("HEIF", 3, 2, (180, 120))
    assert decode(data, SETTINGS, RESIZE).size == (180, 120)
    assert near(pixel(data, 170, 110), RED)


@needed
def test_a_preview_is_not_the_picture() -> None:
    content, [configuration] = tile("HEIF")
    items = [(b"hvc1", content)] * 2
    reference = box(b"iref", bytes(4) + box(b"thmb", struct.pack(">HHH", 2, 1, 1)))
    data = boxes_of("HEIF", items, [size(SIDE, SIDE), configuration], [[1, 0x82]] * 2, reference)
    assert near(pixel(data), RED)


@needed
def test_what_cannot_be_decoded() -> None:
    for data in (HEIC + bytes(100), boxes_of("HEIF", [(b"unci", b"x")], [], []), encode(noise(), "HEIF")[:-200]):
        refusal(data, BadRequest)


@needed
def test_a_refusal_in_libheifs_words_is_one_line() -> None:
    said = refusal(grid("HEIF", 3, 2).replace(size(SIDE, SIDE), size(2**32 - 1, SIDE)), BadRequest)
    assert "Security limit exceeded" in said
