from __future__ import annotations

import contextlib
import io
import struct
import tracemalloc
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image, ImageOps, _avif, _webp

from handler.errors import BadRequest, PayloadTooLarge, RequestError, UnsupportedMediaType
from handler.images import decode
from handler.settings import Settings
from tests.pictures import encode, noise, photo, png, png_chunk

SETTINGS = Settings()
RESIZE = 255
RED, WHITE = (255, 0, 0), (255, 255, 255)
DAMAGED = "send the whole file"


def pixel(data: bytes, x: int = 0, y: int = 0) -> object:
    image = decode(data, SETTINGS, RESIZE)
    assert image.mode == "RGB"
    return image.getpixel((x, y))


def refusal(data: bytes, kind: type[RequestError], settings: Settings = SETTINGS) -> str:
    """Check how an image is refused and that the message is one sentence that says what to do."""
    with pytest.raises(kind) as caught:
        decode(data, settings, RESIZE)
    message = str(caught.value)
    assert type(caught.value) is kind
    assert ": send " in message
    assert message.endswith(".")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("format_name", ["PNG", "GIF", "BMP", "TIFF", "JPEG", "WEBP", "AVIF"])
@pytest.mark.parametrize("wrap", [bytes, bytearray])
def test_every_accepted_format(format_name: str, wrap: type[bytes]) -> None:
    image = Image.new("RGB", (40, 30), (200, 100, 50))
    decoded = decode(wrap(encode(image, format_name)), SETTINGS, RESIZE)
    assert (decoded.mode, decoded.size) == ("RGB", (40, 30))
    np.testing.assert_allclose(np.asarray(decoded).mean((0, 1)), (200, 100, 50), atol=4)


@pytest.mark.parametrize("options", [{"format": "PNG"}, {"format": "WEBP", "lossless": True}, {"format": "TIFF"}])
def test_lossless_formats_keep_every_pixel(options: dict[str, object]) -> None:
    image = noise()
    decoded = decode(encode(image, **options), SETTINGS, RESIZE)  # type: ignore[arg-type]
    np.testing.assert_array_equal(np.asarray(decoded), np.asarray(image))


def test_the_multi_picture_format_of_phones_gives_its_first_picture() -> None:
    first, second = Image.new("RGB", (32, 32), RED), Image.new("RGB", (16, 16), "blue")
    data = encode(first, "MPO", save_all=True, append_images=[second])
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.format == "MPO"
    assert decode(data, SETTINGS, RESIZE).size == (32, 32)
    np.testing.assert_allclose(np.asarray(pixel(data)), RED, atol=3)


def gif_of(frames: int) -> bytes:
    first, *rest = [Image.new("RGB", (8, 8), (255 - i % 256, 0, i % 256)) for i in range(frames)]
    return encode(first, "GIF", save_all=True, append_images=rest)


def test_an_animation_gives_its_first_frame() -> None:
    assert pixel(gif_of(500)) == RED


def animation(format_name: str) -> bytes:
    """A file of 300 frames, the first of them red and nothing but noise after it."""
    noises = [noise(32, 32, seed) for seed in range(299)]
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
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100),
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


MAGIC = [
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"RIFF\0\2\0\0WEBP",
    b"GIF89a",
    b"BM\0\2\0\0\0\0\0\0",
    b"II*\0",
    b"MM\0*",
]
MAGIC += [b"II+\0", b"MM\0+", b"\0\0\0\x18ftypavif"]


@pytest.mark.parametrize("magic", MAGIC)
@pytest.mark.filterwarnings("ignore")  # Pillow's own, of damaged TIFFs and of pictures over its limit
def test_random_bytes_behind_a_magic_number(magic: bytes) -> None:
    for seed in range(20):
        data = magic + np.random.default_rng(seed).bytes(600)
        with pytest.raises((BadRequest, PayloadTooLarge)) as caught:
            decode(data, SETTINGS, RESIZE)
        assert ": send " in str(caught.value)


@pytest.mark.filterwarnings("ignore")  # Pillow's own, of damaged files
def test_no_damage_costs_more_than_its_own_request() -> None:
    """Whatever bytes of a good file are changed, the outcome is an image or a RequestError."""
    generator = np.random.default_rng(0)
    for format_name in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"):
        good = np.frombuffer(encode(noise(), format_name), np.uint8)
        for _ in range(40):
            damaged = good.copy()
            damaged[generator.integers(0, min(len(good), 400), 6)] = generator.integers(0, 256, 6)
            with contextlib.suppress(RequestError):
                assert decode(damaged.tobytes(), SETTINGS, RESIZE).mode == "RGB"


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


SCALED = Settings(jpeg_decode="scaled")
SMALL = 16  # a resize that makes small pictures large ones


@pytest.mark.parametrize(
    ("size", "decoded"),
    [
        ((64, 96), (32, 48)),
        ((128, 160), (32, 40)),
        ((96, 128), (48, 64)),  # a quarter would be under twice the resize
        ((256, 320), (32, 40)),
        ((1024, 1024), (128, 128)),  # the decoder has nothing under an eighth
        ((260, 320), (65, 80)),  # an eighth is no whole number of pixels
        ((62, 96), (62, 96)),
        ((257, 320), (257, 320)),
        ((1, 5000), (1, 5000)),
    ],
)
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_a_scaled_decode_keeps_twice_the_resize(
    size: tuple[int, int], decoded: tuple[int, int], options: dict[str, object]
) -> None:
    data = encode(noise(*size), "JPEG", **options)
    assert decode(data, SCALED, SMALL).size == decoded
    assert decode(data, SETTINGS, SMALL).size == size


@pytest.mark.parametrize("size", [(62, 96), (257, 320), (1, 5000)])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_where_nothing_is_scaled_every_pixel_is_the_same(size: tuple[int, int], mode: str) -> None:
    data = encode(noise(*size).convert(mode), "JPEG")
    assert decode(data, SCALED, SMALL).tobytes() == decode(data, SETTINGS, SMALL).tobytes()


@pytest.mark.parametrize("format_name", ["PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_only_jpeg_is_scaled(format_name: str) -> None:
    assert decode(encode(noise(256, 320), format_name), SCALED, SMALL).size == (256, 320)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_scaled_photo_ends_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(photo("chelsea").resize((320, 256)), "JPEG", exif=exif)
    scaled, exact = (decode(data, settings, SMALL) for settings in (SCALED, SETTINGS))
    assert scaled.size == ((32, 40) if orientation > 4 else (40, 32))
    reduced = exact.reduce(8)
    np.testing.assert_allclose(np.asarray(scaled, float), np.asarray(reduced, float), atol=8)


@pytest.mark.parametrize("mode", ["RGB", "CMYK", "L", "YCbCr"])
def test_the_colours_of_a_scaled_photo(mode: str) -> None:
    colour = (90, 90, 90) if mode == "L" else RED
    decoded = decode(encode(Image.new("RGB", (256, 256), colour).convert(mode), "JPEG", quality=95), SCALED, SMALL)
    assert (decoded.mode, decoded.size) == ("RGB", (32, 32))
    np.testing.assert_allclose(np.asarray(decoded).reshape(-1, 3), np.tile(colour, (32 * 32, 1)), atol=3)


def test_a_scaled_multi_picture() -> None:
    first, second = Image.new("RGB", (256, 256), RED), Image.new("RGB", (16, 16), "blue")
    decoded = decode(encode(first, "MPO", save_all=True, append_images=[second]), SCALED, SMALL)
    assert decoded.size == (32, 32)
    np.testing.assert_allclose(np.asarray(decoded.getpixel((0, 0))), RED, atol=3)


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
@pytest.mark.parametrize("settings", [SETTINGS, SCALED])
def test_a_large_photo_cut_short(settings: Settings, options: dict[str, object]) -> None:
    data = encode(noise(256, 320), "JPEG", **options)
    with pytest.raises(BadRequest, match=DAMAGED):
        decode(data[: len(data) // 2], settings, SMALL)


def test_the_limit_of_pixels_is_that_of_the_photo_as_stored() -> None:
    settings = Settings(jpeg_decode="scaled", max_image_pixels=256 * 320 - 1)
    with pytest.raises(PayloadTooLarge, match="256 x 320 pixels"):
        decode(encode(noise(256, 320), "JPEG"), settings, SMALL)


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
