"""What is read of a file: its first frame, its orientation, and its colors as 8-bit RGB."""

from __future__ import annotations

import io
import struct
from typing import Any, cast
from unittest.mock import MagicMock

import numpy as np
import pytest
from PIL import Image, ImageOps, _avif, _webp

from handler import images
from handler.errors import BadRequest
from handler.images import decode
from tests.handler.images import RED, RESIZE, SETTINGS, WHITE, array, pixel, turned
from tests.pictures import encode, noise, png, png_chunk


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
    [("WEBP", _webp, "WebPAnimDecoder", "get_next"), ("AVIF", _avif, "AvifDecoder", "get_frame")],
)
def test_frames_after_the_first_are_not_decoded(
    monkeypatch: pytest.MonkeyPatch, format_name: str, plugin: Any, decoder: str, method: str
) -> None:
    """These two formats keep an index of all frames, which must be whole, so Pillow's calls are counted."""
    spies = list[MagicMock]()
    real = getattr(plugin, decoder)

    def spy(*arguments: Any) -> MagicMock:
        spies.append(MagicMock(wraps=real(*arguments)))
        return spies[-1]

    monkeypatch.setattr(plugin, decoder, spy)
    red, green, blue = cast(tuple[int, int, int], pixel(animation(format_name)))
    assert sum(getattr(one, method).call_count for one in spies) == 1
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
    data = encode(noise(48, 32), format_name, exif=turned(orientation))
    with Image.open(io.BytesIO(data)) as stored:
        upright = ImageOps.exif_transpose(stored).convert("RGB")
    assert upright.size == ((32, 48) if orientation > 4 else (48, 32))
    np.testing.assert_array_equal(array(data), np.asarray(upright))


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_unknown_orientation_is_ignored(orientation: int) -> None:
    assert decode(encode(noise(48, 32), "PNG", exif=turned(orientation)), SETTINGS, RESIZE).size == (48, 32)


@pytest.mark.parametrize(
    "block", [b"garbage!", b"II*\0" + b"\xff" * 4, b"MM\0*\0\0\0\x08\xff\xff", b"II*\0\x08\0\0\0\1\0"]
)
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


@pytest.mark.parametrize(
    ("format_name", "options", "second"),
    [
        ("PNG", {}, (0, 0, 255)),
        ("GIF", {}, (0, 0, 255)),
        ("PNG", {"transparency": 1}, WHITE),
        ("GIF", {"transparency": 1}, WHITE),
        ("PNG", {"transparency": bytes([255, 0])}, WHITE),  # an alpha for each color
    ],
)
def test_a_palette_and_its_transparent_color(
    format_name: str, options: dict[str, Any], second: tuple[int, int, int]
) -> None:
    data = encode(palette(), format_name, **options)
    assert (pixel(data), pixel(data, 1)) == (RED, second)


def test_rgb_with_a_transparent_color_and_of_16_bits() -> None:
    pixels = b"\0" + bytes(RED) + bytes((0, 0, 255))
    data = png(2, 1, 8, 2, pixels, png_chunk(b"tRNS", struct.pack(">HHH", *RED)))
    assert (pixel(data), pixel(data, 1)) == (WHITE, (0, 0, 255))
    assert pixel(png(1, 1, 16, 2, b"\0" + struct.pack(">HHH", 65535, 0, 32768))) == (255, 0, 128)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr"])
def test_the_colour_spaces_of_jpeg(mode: str) -> None:
    red = encode(Image.new("RGB", (16, 16), RED).convert(mode), "JPEG", quality=95)
    np.testing.assert_allclose(np.asarray(pixel(red)), RED, atol=3)


@pytest.mark.parametrize(
    ("kind", "levels", "expected"),
    [
        (np.float32, [0.0, 0.5, 1.0], [0, 128, 255]),
        (np.float32, [0.0, 100.0, 255.0], [0, 100, 255]),
        (np.float32, [0.0, 32768.0, 65535.0], [0, 128, 255]),
        (np.float32, [0.0, 1e6, 2e6], [0, 128, 255]),
        (np.float32, [-5.0, 0.5, 1.0], [0, 128, 255]),
        (np.float32, [np.nan, 0.5, 1.0], [0, 128, 255]),
        (np.float32, [np.nan, np.nan, np.nan], [0, 0, 0]),
        (np.int32, [0, 1, 255], [0, 1, 255]),
        (np.int32, [0, 300, 65535], [0, 1, 255]),
        (np.int32, [-9, 0, 99], [0, 0, 99]),
    ],
)
def test_float_and_integer_gray_is_scaled_to_its_white(kind: Any, levels: list[float], expected: list[int]) -> None:
    data = encode(Image.fromarray(np.array([levels], kind)), "TIFF")
    assert [pixel(data, x) for x in range(3)] == [(level,) * 3 for level in expected]


@pytest.mark.parametrize("clear", [0, 300, 40_000])
def test_a_transparent_level_of_16_bit_gray_is_white_and_the_others_keep_their_values(clear: int) -> None:
    levels = np.array([[0, 300, 20_000, 40_000, 65_535]], np.uint16)
    rows = b"\0" + levels.astype(">u2").tobytes()
    data = png(5, 1, 16, 0, rows, png_chunk(b"tRNS", struct.pack(">H", clear)))
    expected = [255 if level == clear else round(level / 257) for level in levels[0].tolist()]
    assert [pixel(data, x) for x in range(5)] == [(level,) * 3 for level in expected]
