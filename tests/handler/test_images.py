"""What is read of a file: its format, its first frame, its orientation."""

from __future__ import annotations

import io
import struct
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image, ImageOps, _avif, _webp

from handler import images
from handler.errors import BadRequest
from handler.images import decode
from tests.handler.images import RED, RESIZE, SETTINGS, pixel
from tests.pictures import encode, noise


def test_the_multi_picture_format_of_phones_gives_its_first_picture() -> None:
    first, second = Image.new("RGB", (32, 32), RED), Image.new("RGB", (16, 16), "blue")
    data = encode(first, "MPO", save_all=True, append_images=[second])
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.format == "MPO"
    assert decode(data, SETTINGS, RESIZE).size == (32, 32)
    np.testing.assert_allclose(np.asarray(pixel(data)), RED, atol=3)


def animation(format_name: str) -> bytes:
    """A file of 60 frames, the first of them red and nothing but noise after it."""
    noises = [noise(32, 32, seed) for seed in range(59)]
    return encode(Image.new("RGB", (32, 32), RED), format_name, save_all=True, append_images=noises)


@pytest.mark.parametrize("format_name", ["GIF", "PNG", "TIFF"])
def test_frames_after_the_first_are_not_read(format_name: str) -> None:
    """However many there are, and whatever they hold: here their bytes are garbage."""
    data = animation(format_name)
    garbage = data[: len(data) // 10] + b"\xff" * (len(data) - len(data) // 10)
    assert pixel(garbage) == RED


@pytest.mark.parametrize(
    ("format_name", "plugin", "decoder", "method"),
    [
        ("WEBP", _webp, "WebPAnimDecoder", "get_next"),
        ("AVIF", _avif, "AvifDecoder", "get_frame"),
    ],
)
def test_frames_after_the_first_are_not_decoded(
    monkeypatch: pytest.MonkeyPatch, format_name: str, plugin: Any, decoder: str, method: str
) -> None:
    """These two formats keep an index of all frames, which must be whole, so the calls of Pillow are counted."""
    real, asked = getattr(plugin, decoder), list[str]()

    class Recorder:
        def __init__(self, *arguments: Any) -> None:
            self._real = real(*arguments)

        def __getattr__(self, name: str) -> Any:
            asked.append(name)
            return getattr(self._real, name)

    monkeypatch.setattr(plugin, decoder, Recorder)
    red, green, blue = cast(tuple[int, int, int], pixel(animation(format_name)))
    assert asked.count(method) == 1
    assert red > 200 > 50 > max(green, blue)


def test_a_page_of_any_size_after_the_first_is_not_read() -> None:
    """The second page says that it is 60,000 x 60,000 pixels large."""
    data = encode(Image.new("RGB", (20, 20), RED), "TIFF", save_all=True, append_images=[Image.new("RGB", (37, 37))])
    sizes = [struct.pack("<HHII", tag, 4, 1, 37) for tag in (256, 257)]  # ImageWidth and ImageLength as LONG
    for size in sizes:
        assert data.count(size) == 1
        data = data.replace(size, size[:8] + struct.pack("<I", 60000))
    assert pixel(data) == RED


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_orientation_ends_upright(orientation: int, format_name: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(noise(48, 32), format_name, exif=exif)
    with Image.open(io.BytesIO(data)) as stored:
        upright = ImageOps.exif_transpose(stored).convert("RGB")
    assert upright.size == ((32, 48) if orientation > 4 else (48, 32))
    np.testing.assert_array_equal(np.asarray(decode(data, SETTINGS, RESIZE)), np.asarray(upright))


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_there_is_not_is_ignored(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert decode(encode(noise(48, 32), "PNG", exif=exif), SETTINGS, RESIZE).size == (48, 32)


BLOCKS = [b"garbage!", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff", b"II*\0\x08\0\0\0\1\0"]


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP"])
@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of a truncated block
def test_a_photo_with_damaged_exif_still_shows_its_picture(format_name: str, block: bytes) -> None:
    data = encode(noise(48, 32), format_name, exif=b"Exif\0\0" + block)
    assert decode(data, SETTINGS, RESIZE).size == (48, 32)


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (2, 3)])
def test_odd_sizes(size: tuple[int, int]) -> None:
    assert decode(encode(noise(*size), "PNG"), SETTINGS, RESIZE).size == size


def test_a_header_that_does_not_end_is_read_no_further() -> None:
    """Pillow reads the bytes between two markers one by one."""
    junk = b"\xff\xd8\xff\xe0\x00\x04ab" + bytes(images.MAX_HEADER_READS)
    with pytest.raises(BadRequest, match="header"):
        images.sides(junk + encode(noise(8, 8)), SETTINGS)
    assert images.sides(junk[:-1000] + encode(noise(8, 8)), SETTINGS) == (8, 8)
