"""Small files of every format and kind that the decoder reads: what a fuzzer starts from and bends."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from tests.pictures import encode, noise, png, png_chunk

FORMATS: dict[str, tuple[str, ...]] = {
    "JPEG": ("RGB", "L", "CMYK"),
    "PNG": ("RGB", "RGBA", "L", "LA", "P", "1", "I;16"),
    "WEBP": ("RGB", "RGBA"),
    "GIF": ("P", "L"),
    "BMP": ("RGB", "L", "1"),
    "TIFF": ("RGB", "RGBA", "CMYK", "L", "1", "I", "I;16", "F"),
    "AVIF": ("RGB", "RGBA"),
}


def seeds() -> Iterator[tuple[str, bytes]]:
    """Yield names and files, none of more than a few thousand bytes."""
    image = noise(24, 17)
    for format_, modes in FORMATS.items():
        for mode in modes:
            yield f"{format_}-{mode}".replace(";", "-"), encode(in_mode(image, mode), format_)
    yield "progressive", encode(image, progressive=True)
    yield "turned", encode(image, exif=_turned())
    yield "turned-png", encode(image, "PNG", exif=_turned())
    yield "interlaced", png(3, 2, 8, 0, bytes(8), png_chunk(b"tEXt", b"key\0value"))
    yield "transparent-colour", encode(image.convert("P"), "PNG", transparency=3)
    yield "two-pictures", encode(image, "MPO", save_all=True, append_images=[image])
    for compression in ("raw", "tiff_lzw", "packbits", "tiff_adobe_deflate", "jpeg"):
        yield f"tiff-{compression}", encode(image, "TIFF", compression=compression)
    frames = [Image.new("RGB", (9, 7), colour) for colour in ("red", "lime", "blue")]
    for format_ in ("GIF", "WEBP", "PNG", "TIFF", "AVIF"):
        yield f"frames-{format_}", encode(frames[0], format_, save_all=True, append_images=frames[1:])
    yield "huge-png", png(30_000, 30_000, 8, 2, b"")
    yield "huge-bmp", b"BM" + struct.pack("<IHHIIiiHHIIiiII", 70, 0, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0)


def in_mode(image: Image.Image, mode: str) -> Image.Image:
    return image.convert("I").convert(mode) if mode == "I;16" else image.convert(mode)


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def write(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in seeds():
        (folder / name).write_bytes(content)
    return folder
