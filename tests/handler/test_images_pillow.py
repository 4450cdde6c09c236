"""Every kind of file is decoded as Pillow alone decodes it."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from handler.encodings import File
from tests.fuzz.corpus import FORMATS, in_mode
from tests.handler.images import array
from tests.pictures import FITTING, encode, photo

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def exif(orientation: int) -> bytes:
    """What a camera writes, shortened: names, numbers, a directory of its own, and which way is up."""
    tags = Image.Exif()
    tags[0x010F], tags[0x0112], tags[0x011A], tags[0x0132] = "Maker", orientation, 300.0, "2026:01:01 00:00:00"
    tags.get_ifd(0x8769)[0x829A] = 0.01
    return tags.tobytes()


def xmp(orientation: int) -> bytes:
    return f'<x:xmpmeta><rdf:Description tiff:Orientation="{orientation}"/></x:xmpmeta>'.encode()


def by_pillow(data: File) -> NDArray[np.uint8]:
    """Decode the whole file as Pillow does, metadata and all."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        turned = ImageOps.exif_transpose(image)
        if turned.has_transparency_data:
            layer = turned.convert("RGBA")
            turned = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
        return np.asarray(turned.convert("RGB"))


# These have no white of their own: test_images.py.
DEEP_GREY = ("I;16", "I", "F")
MODES = [(name, mode) for name, modes in FORMATS.items() for mode in modes if mode not in DEEP_GREY]


def check(data: File) -> None:
    np.testing.assert_array_equal(array(bytes(data)), by_pillow(data))


@pytest.mark.parametrize(("format_name", "mode"), MODES)
@pytest.mark.parametrize("name", ["chelsea", "rocket"])
def test_every_mode_of_every_format(format_name: str, mode: str, name: str) -> None:
    options: dict[str, Any] = {} if format_name in ("BMP", "GIF") else {"exif": exif(6), "icc_profile": ICC}
    check(encode(in_mode(photo(name), mode), format_name, **options))


@pytest.mark.parametrize("name", FITTING)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"quality": 95, "subsampling": 0},
        {"progressive": True, "exif": exif(3), "comment": b"by hand", "icc_profile": ICC},
        {"optimize": True, "dpi": (300, 300), "xmp": xmp(8)},
        {"keep_rgb": True},
        {"restart_marker_rows": 1, "exif": exif(5)},
    ],
)
def test_photos(name: str, options: dict[str, Any]) -> None:
    check(encode(photo(name), **options))


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "packbits", "tiff_adobe_deflate", "jpeg", "zstd", "lzma"])
@pytest.mark.parametrize(
    "options", [{}, {"big_tiff": True}, {"tiffinfo": {0x0112: 7}, "icc_profile": ICC, "dpi": (72, 72)}]
)
def test_every_compression_of_tiff(compression: str, options: dict[str, Any]) -> None:
    check(encode(photo("coffee"), "TIFF", compression=compression, **options))


@pytest.mark.parametrize("kind", ["XMP", "tEXt", "zTXt"])
def test_an_orientation_in_a_text_of_png(kind: str) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Comment", "made here" * 100, zip=True)
    if kind == "XMP":
        texts.add_itxt("XML:com.adobe.xmp", xmp(6).decode())
    else:
        block = exif(8).removeprefix(b"Exif\0\0")
        texts.add_text("Raw profile type exif", f"\nexif\n{len(block):8}\n{block.hex()}", zip=kind == "zTXt")
    data = encode(photo("coffee"), "PNG", pnginfo=texts, icc_profile=ICC, dpi=(72, 72))
    assert array(data).shape[:2] == photo("coffee").size
    check(data)


@pytest.mark.parametrize("format_name", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_the_frames_of_animations(format_name: str) -> None:
    frames = [photo(name).resize((90, 60)) for name in ("coffee", "rocket", "chelsea")]
    check(encode(frames[0], format_name, save_all=True, append_images=frames[1:]))
