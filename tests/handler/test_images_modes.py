"""Every way of storing colours becomes 8-bit RGB."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image

from tests.handler.images import RED, WHITE, pixel
from tests.pictures import encode, png, png_chunk


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("1", 1, WHITE),
        ("L", 90, (90, 90, 90)),
        ("LA", (90, 255), (90, 90, 90)),
        ("LA", (0, 0), WHITE),
        ("RGBA", (255, 0, 0, 255), RED),
        ("RGBA", (255, 0, 0, 0), WHITE),
        ("RGBA", (255, 0, 0, 128), (255, 127, 127)),
        ("I;16", 32768, (128, 128, 128)),
        ("I;16", 300, (1, 1, 1)),
    ],
)
def test_every_mode_of_png_becomes_rgb_over_white(mode: str, colour: int, expected: tuple[int, ...]) -> None:
    assert pixel(encode(Image.new(mode, (4, 4), colour), "PNG")) == expected


def palette() -> Image.Image:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    return image


@pytest.mark.parametrize("format_name", ["PNG", "GIF"])
def test_a_palette(format_name: str) -> None:
    data = encode(palette(), format_name)
    assert (pixel(data), pixel(data, 1)) == (RED, (0, 0, 255))


@pytest.mark.parametrize("format_name", ["PNG", "GIF"])
def test_a_transparent_colour_of_a_palette_is_white(format_name: str) -> None:
    data = encode(palette(), format_name, transparency=1)
    assert (pixel(data), pixel(data, 1)) == (RED, WHITE)


def test_a_palette_with_an_alpha_for_each_colour() -> None:
    data = encode(palette(), "PNG", transparency=bytes([255, 0]))
    assert (pixel(data), pixel(data, 1)) == (RED, WHITE)


def test_a_transparent_colour_of_rgb_is_white() -> None:
    pixels = b"\0" + bytes(RED) + bytes((0, 0, 255))
    data = png(2, 1, 8, 2, pixels, png_chunk(b"tRNS", struct.pack(">HHH", *RED)))
    assert (pixel(data), pixel(data, 1)) == (WHITE, (0, 0, 255))


def test_sixteen_bits_a_channel() -> None:
    assert pixel(png(1, 1, 16, 2, b"\0" + struct.pack(">HHH", 65535, 0, 32768))) == (255, 0, 128)


def test_sixteen_bit_grey_with_a_transparent_level() -> None:
    level = png_chunk(b"tRNS", struct.pack(">H", 1000))
    assert pixel(png(2, 1, 16, 0, b"\0" + struct.pack(">HH", 0, 65535), level)) == (0, 0, 0)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr"])
def test_the_colour_spaces_of_jpeg(mode: str) -> None:
    red = encode(Image.new("RGB", (16, 16), RED).convert(mode), "JPEG", quality=95)
    np.testing.assert_allclose(np.asarray(pixel(red)), RED, atol=3)


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 100.0, 255.0], [0, 100, 255]),
        ([0.0, 32768.0, 65535.0], [0, 128, 255]),
        ([0.0, 1e6, 2e6], [0, 128, 255]),
        ([-5.0, 0.5, 1.0], [0, 128, 255]),
        ([np.nan, 0.5, 1.0], [0, 128, 255]),
        ([np.nan, np.nan, np.nan], [0, 0, 0]),
    ],
)
def test_float_grey_is_scaled_to_its_white(levels: list[float], expected: list[int]) -> None:
    data = encode(Image.fromarray(np.array([levels], np.float32)), "TIFF")
    assert [pixel(data, x) for x in range(3)] == [(level,) * 3 for level in expected]


@pytest.mark.parametrize(
    ("levels", "expected"), [([0, 1, 255], [0, 1, 255]), ([0, 300, 65535], [0, 1, 255]), ([-9, 0, 99], [0, 0, 99])]
)
def test_integer_grey_is_scaled_to_its_white(levels: list[int], expected: list[int]) -> None:
    data = encode(Image.fromarray(np.array([levels], np.int32)), "TIFF")
    assert [pixel(data, x) for x in range(3)] == [(level,) * 3 for level in expected]


@pytest.mark.parametrize("clear", [0, 300, 40_000])
def test_a_transparent_level_of_16_bit_gray_is_white_and_the_others_keep_their_values(clear: int) -> None:
    levels = np.array([[0, 300, 20_000, 40_000, 65_535]], np.uint16)
    rows = b"\0" + levels.astype(">u2").tobytes()
    data = png(5, 1, 16, 0, rows, png_chunk(b"tRNS", struct.pack(">H", clear)))
    expected = [255 if level == clear else round(level / 257) for level in levels[0].tolist()]
    assert [pixel(data, x) for x in range(5)] == [(level,) * 3 for level in expected]
