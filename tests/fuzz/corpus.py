"""Small files of every format and kind that the decoder reads: what a fuzzer starts from and bends."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from handler.images import pillow_heif
from tests.handler import hostile
from tests.handler.images import turned
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
    yield "turned", encode(image, exif=turned(6))
    yield "turned-png", encode(image, "PNG", exif=turned(6))
    yield "interlaced", png(3, 2, 8, 0, bytes(8), png_chunk(b"tEXt", b"key\0value"))
    yield "transparent-colour", encode(image.convert("P"), "PNG", transparency=3)
    yield "two-pictures", encode(image, "MPO", save_all=True, append_images=[image])
    for compression in ("raw", "tiff_lzw", "packbits", "tiff_adobe_deflate", "jpeg"):
        yield f"tiff-{compression}", encode(image, "TIFF", compression=compression)
    frames = [Image.new("RGB", (9, 7), colour) for colour in ("red", "lime", "blue")]
    for format_ in ("GIF", "WEBP", "PNG", "TIFF", "AVIF"):
        yield f"frames-{format_}", encode(frames[0], format_, save_all=True, append_images=frames[1:])
    yield from structures()
    yield "huge-png", png(30_000, 30_000, 8, 2, b"")
    yield "huge-bmp", b"BM" + struct.pack("<IHHIIiiHHIIiiII", 70, 0, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0)


def structures() -> Iterator[tuple[str, bytes]]:
    """Yield small files with much of what tests/handler/hostile.py has by the million: parts of every kind."""
    yield "scans", hostile.jpeg_of_scans(20, (24, 17))
    yield "segments", hostile.jpeg_with(hostile.repeated(hostile.segment(0xFE, b"x"), 100) + b"\xff\xff\xff")
    yield "tags", hostile.jpeg_with(hostile.segment(0xE1, hostile.exif_over_one_region(30, 400)))
    yield "tags-png", hostile.png_of(png_chunk(b"eXIf", hostile.exif_over_one_region(30, 400)[6:]))
    yield "tags-webp", hostile.webp_of(hostile.riff_chunk(b"EXIF", hostile.exif_over_one_region(30, 400)))
    yield "chunks", hostile.png_of(hostile.repeated(png_chunk(b"zTXt", b"k\0\0"), 300))
    yield "raw-profile", hostile.png_of(png_chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 8\n49492a0008000000"))
    yield "sub-blocks", hostile.gif_with(b"!\xfe" + b"\1c" * 50 + b"\0")
    yield "runs", hostile.bmp(20, 10, 1, hostile.RLE_DELTA + b"\1\7\0\0" * 20)
    yield "strips", encode(noise(24, 17), "TIFF", compression="tiff_lzw", strip_size=72)
    yield "tiles", hostile.tiff_of_tiles((16, 16), (32, 32), 1, zlib.compress(bytes(1_024)))
    yield "directories", hostile.tiff_of_directories(10)
    yield "grid", hostile.grid("AVIF", 3, 2)
    yield "frames", hostile.frames("AVIF", 4)
    if pillow_heif:
        yield "heic", encode(noise(24, 17), "HEIF")
        yield "heic-transparent", encode(Image.new("RGBA", (24, 17)), "HEIF")
        yield "heic-grid", hostile.grid("HEIF", 3, 2)
        yield "heic-grid-of-one-tile", hostile.grid("HEIF", 3, 2, tiles=1)


# What a fuzzer puts in the place of other bytes: the names of the formats' parts, and numbers that claim much.
NAMES = (
    "Exif JFIF Adobe http://ns.adobe.com/xap/1.0/ IHDR PLTE tRNS IDAT IEND eXIf iCCP zTXt iTXt acTL fcTL fdAT "
    "VP8L VP8X ALPH ANIM ANMF EXIF ftyp avif avis meta iinf infe iloc iref dimg iprp ipco ipma ispe av01 av1C auxC "
    "grid heic heix mif1 hvc1 hvcC auxl thmb moov trak mdia minf stbl stsz stsc stco"
)
MARKERS = b"\xc0\xc2\xc4\xd8\xd9\xda\xdb\xdd\xe0\xe1\xee\xfe"
TAGS = (256, 257, 259, *range(273, 280), *range(322, 326))
TOKENS = (
    *(name.encode() for name in NAMES.split()),
    *(b"\xff" + bytes([marker]) for marker in MARKERS),
    *(struct.pack("<HH", tag, kind) for tag in TAGS for kind in (3, 4)),
    *(b"VP8 ", b"XMP ", b"II*\0", b"MM\0*", b"II+\0", b"!\xf9\x04", b"!\xfe", b"!\xff\x0b"),
    *(b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\xff\xff", b"\0\0\0\0"),
)


def write_dictionary(path: Path) -> Path:
    """Write TOKENS as libFuzzer reads them."""
    lines = ("".join(f"\\x{byte:02x}" for byte in token) for token in TOKENS)
    path.write_text("".join(f'"{line}"\n' for line in lines))
    return path


def in_mode(image: Image.Image, mode: str) -> Image.Image:
    return image.convert("I").convert(mode) if mode == "I;16" else image.convert(mode)


def write(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in seeds():
        (folder / name).write_bytes(content)
    return folder
