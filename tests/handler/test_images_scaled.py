"""`jpeg_decode: scaled`: large JPEGs decoded at a part of their size."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from handler.errors import BadRequest, PayloadTooLarge
from handler.images import decode
from handler.settings import Settings
from tests.handler.images import DAMAGED, RED, SETTINGS, turned
from tests.pictures import encode, noise, photo

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
        *((size, size) for size in ((62, 96), (257, 320), (1, 5000))),
    ],
)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_a_scaled_decode_keeps_twice_the_resize(
    size: tuple[int, int], decoded: tuple[int, int], mode: str, options: dict[str, object]
) -> None:
    data = encode(noise(*size).convert(mode), "JPEG", **options)
    scaled, exact = (decode(data, settings, SMALL) for settings in (SCALED, SETTINGS))
    assert (scaled.size, exact.size) == (decoded, size)
    assert decoded != size or scaled.tobytes() == exact.tobytes()


@pytest.mark.parametrize("format_name", ["PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_only_jpeg_is_scaled(format_name: str) -> None:
    assert decode(encode(noise(256, 320), format_name), SCALED, SMALL).size == (256, 320)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_scaled_photo_ends_upright(orientation: int) -> None:
    data = encode(photo("chelsea").resize((320, 256)), "JPEG", exif=turned(orientation))
    scaled, exact = (decode(data, settings, SMALL) for settings in (SCALED, SETTINGS))
    assert scaled.size == ((32, 40) if orientation > 4 else (40, 32))
    np.testing.assert_allclose(np.asarray(scaled, float), np.asarray(exact.reduce(8), float), atol=8)


@pytest.mark.parametrize(
    ("mode", "format_name"), [(mode, "JPEG") for mode in ("RGB", "CMYK", "L", "YCbCr")] + [("RGB", "MPO")]
)
def test_the_colors_of_a_scaled_photo(mode: str, format_name: str) -> None:
    color = (90, 90, 90) if mode == "L" else RED
    options = {"save_all": True, "append_images": [Image.new("RGB", (16, 16), "blue")]} if format_name == "MPO" else {}
    data = encode(Image.new("RGB", (256, 256), color).convert(mode), format_name, quality=95, **options)
    decoded = decode(data, SCALED, SMALL)
    assert (decoded.mode, decoded.size) == ("RGB", (32, 32))
    np.testing.assert_allclose(np.asarray(decoded).reshape(-1, 3), np.tile(color, (32 * 32, 1)), atol=3)


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
