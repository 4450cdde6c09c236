"""What is no image, damaged or too large: a sentence, and little memory. Of JPEGs, whether pixels are missing."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from PIL import Image

from handler.errors import BadRequest, PayloadTooLarge, UnsupportedMediaType
from handler.images import decode
from handler.settings import Settings
from tests.handler.hostile import png_of_zeros
from tests.handler.images import DAMAGED, RESIZE, SETTINGS, array, refusal
from tests.pictures import encode, noise

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


def broken(place: int) -> bytes:
    data = bytearray(PNG)
    data[place] ^= 0xFF
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [JPEG[: len(JPEG) // 2], JPEG[:20], PNG[: len(PNG) // 2], PNG[:16]]
    + [broken(29), broken(PNG.index(b"IDAT") + 6)]  # the checksum of its header, and its pixels
    + [encode(noise(), name)[:-200] for name in ("WEBP", "BMP", "AVIF", "TIFF")],
)
def test_a_damaged_image(data: bytes) -> None:
    assert DAMAGED in refusal(data, BadRequest)


@pytest.mark.parametrize("side", [7_100, 10_000, 30_000])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_over_the_limit_of_pixels(side: int) -> None:
    """At 30,000 Pillow's own limit comes first."""
    data = png_of_zeros(side, side)
    assert len(data) < 200_000
    assert "50,000,000" in refusal(data, PayloadTooLarge)


def test_the_limit_of_pixels_itself_is_allowed() -> None:
    data = encode(noise(20, 10), "PNG")
    assert decode(data, Settings(max_image_pixels=200), RESIZE).size == (20, 10)
    said = refusal(data, PayloadTooLarge, Settings(max_image_pixels=199))
    assert "20 x 10" in said
    assert "199" in said


def test_the_limit_of_bytes_itself_is_allowed() -> None:
    assert decode(PNG, Settings(max_image_bytes=len(PNG)), RESIZE).size == (64, 48)
    assert f"{len(PNG):,} bytes" in refusal(PNG, PayloadTooLarge, Settings(max_image_bytes=len(PNG) - 1))


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


KINDS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 3},
    "optimized": {"optimize": True, "subsampling": 0},
}


def jpeg(kind: str, mode: str = "RGB") -> bytes:
    return encode(noise(97, 61).convert(mode), "JPEG", **KINDS[kind])


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", [b"", b"\xff", bytes(64)])
def test_a_jpeg_without_its_last_marker_loses_no_pixel(kind: str, mode: str, end: bytes) -> None:
    whole = jpeg(kind, mode)
    assert np.array_equal(array(whole), array(whole[:-2] + end))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", [b"", bytes(64)])
def test_a_jpeg_without_its_last_pixels_is_refused(kind: str, end: bytes) -> None:
    whole = jpeg(kind)
    for cut in (*range(4, 60), len(whole) // 5, len(whole) // 2):
        assert DAMAGED in refusal(whole[:-cut] + end, BadRequest)


@pytest.mark.parametrize("kind", KINDS)
def test_a_jpeg_without_its_last_scans_is_refused(kind: str) -> None:
    whole = jpeg(kind)
    for start in (i for i in range(len(whole)) if whole.startswith(b"\xff\xda", i)):
        assert DAMAGED in refusal(whole[:start], BadRequest)
