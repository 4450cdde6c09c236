"""What is no image, damaged or too large: a sentence, and little memory."""

from __future__ import annotations

import struct
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from handler.errors import BadRequest, PayloadTooLarge, UnsupportedMediaType
from handler.images import decode
from handler.settings import Settings
from tests.handler.images import DAMAGED, RESIZE, SETTINGS, refusal
from tests.pictures import encode, noise, png_chunk

JPEG, PNG = encode(noise(200, 200), "JPEG"), encode(noise(), "PNG")


def test_empty() -> None:
    assert "empty (0 bytes)" in refusal(b"", BadRequest)


@pytest.mark.parametrize(
    "data",
    [
        b"hello",
        b"x",
        b"<!doctype html><html></html>",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        encode(noise(), "PPM"),
        encode(noise(), "ICO"),
        encode(noise(), "TGA"),
        b"\0\0\0\x18ftypisom" + bytes(100),
        b"RIFF\x24\0\0\0WAVEfmt " + bytes(100),
        b"BMW builds cars",
        b"PK\3\4",
    ],
)
def test_what_is_no_image_of_an_accepted_format(data: bytes) -> None:
    assert "not an image of an accepted format" in refusal(data, UnsupportedMediaType)


def broken_header() -> bytes:
    data = bytearray(PNG)
    data[29] ^= 0xFF  # in the checksum of IHDR
    return bytes(data)


def broken_pixels() -> bytes:
    data = bytearray(PNG)
    data[PNG.index(b"IDAT") + 6] ^= 0xFF
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [JPEG[: len(JPEG) // 2], JPEG[:20], PNG[: len(PNG) // 2], PNG[:16], broken_header(), broken_pixels()]
    + [encode(noise(), name)[:-200] for name in ("WEBP", "BMP", "AVIF", "TIFF")],
)
def test_a_damaged_image(data: bytes) -> None:
    assert DAMAGED in refusal(data, BadRequest)


def test_a_bomb_is_refused_by_its_header() -> None:
    data = huge_png(30_000, 30_000)
    assert len(data) < 200_000
    assert "pixels" in refusal(data, PayloadTooLarge)


@pytest.mark.parametrize("side", [7_100, 10_000])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_over_the_limit_of_pixels(side: int) -> None:
    assert f"{side:,} x {side:,} pixels and the limit is 50,000,000" in refusal(huge_png(side, side), PayloadTooLarge)


def huge_png(width: int, height: int) -> bytes:
    """A PNG of one bit a pixel, whose rows are packed one after the other: a few kB hold it."""
    import zlib

    row = bytes(1 + (width + 7) // 8)
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def test_the_limit_of_pixels_itself_is_allowed() -> None:
    data = encode(noise(20, 10), "PNG")
    assert decode(data, Settings(max_image_pixels=200), RESIZE).size == (20, 10)
    assert "20 x 10 pixels and the limit is 199 " in refusal(data, PayloadTooLarge, Settings(max_image_pixels=199))


def test_the_limit_of_bytes_itself_is_allowed() -> None:
    data = encode(noise(), "PNG")
    assert decode(data, Settings(max_image_bytes=len(data)), RESIZE).size == (64, 48)
    refused = refusal(data, PayloadTooLarge, Settings(max_image_bytes=len(data) - 1))
    assert f"has {len(data):,} bytes" in refused


def test_grey_of_16_bits_needs_little_more_memory_than_its_pixels() -> None:
    """50 megapixels of one grey are a PNG of 100 kB: what each pixel takes on its way is what a small file can cost."""
    pixels = 1_000_000
    data = encode(Image.fromarray(np.zeros((1000, 1000), np.uint16)), "PNG")
    tracemalloc.start()
    try:
        decode(data, SETTINGS, RESIZE)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10 * pixels
