"""Files that cost a decoder gigabytes or minutes, made here in memory: small code, small bytes.

Each is whole enough for Pillow to open it; `FILES` says with which status each may be answered by a decoder that may
take 0.3 s.
"""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from tests.pictures import encode, noise, png, png_chunk

MOST = 19_900_000  # bytes: just under the limit of a file


def exif_over_one_region(tags: int, size: int) -> bytes:
    """EXIF whose tags all point to the same bytes: what is parsed is `tags` times what was sent."""
    entries = b"".join(struct.pack("<HHII", 0x9000 + i % 0x6000, 7, size, 0) for i in range(tags))
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", tags) + entries + bytes(4 + max(0, size - 12 * tags))


def repeated(piece: bytes, size: int) -> bytes:
    return piece * max(1, size // len(piece))


# BMP


def bmp(width: int, height: int, compression: int, data: bytes, bits: int = 8) -> bytes:
    palette = bytes(4 << bits)
    start = 54 + len(palette)
    head = b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start)
    return (
        head
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(data), 0, 0, 0, 0)
        + palette
        + data
    )


# JPEG


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def arithmetic_jpeg(side: int, restart: bool = False, scans: int = 0) -> bytes:
    """A progressive JPEG in arithmetic coding whose scans have no data: all of each block is decoded all the same.

    Its 5 steps for each of 3 colors, with its first scan, are 16 scans, in some 600 bytes; `scans` repeats the last.
    """
    table = bytes([1]) * 64
    head = segment(0xDB, b"\0" + table) + segment(0xDB, b"\1" + table)
    colors = b"".join(bytes([color, 0x11, color > 1]) for color in (1, 2, 3))
    head += segment(0xCA, struct.pack(">BHHB", 8, side, side, 3) + colors)
    head += segment(0xDD, struct.pack(">H", 1)) if restart else b""
    body = segment(0xDA, bytes([3, 1, 0, 2, 0x10, 3, 0x10, 0, 0, 0]))
    steps = (0x04, 0x43, 0x32, 0x21, 0x10)
    refinements = [segment(0xDA, bytes([1, color, color > 1, 1, 63, step])) for step in steps for color in (1, 2, 3)]
    return b"\xff\xd8" + head + body + b"".join(refinements) + refinements[-1] * scans + b"\xff\xd9"


def jpeg_of_restarts(side: int) -> bytes:
    """A progressive JPEG that announces a restart behind each block, and has none."""
    good = encode(Image.new("RGB", (16, 16), 99), progressive=True)
    start = good.index(b"\xff\xc2")
    size = struct.pack(">HH", side, side)
    return good[:start] + segment(0xDD, struct.pack(">H", 1)) + good[start : start + 5] + size + good[start + 9 :]


def jpeg_with(header: bytes) -> bytes:
    """A good JPEG with something behind its first marker."""
    good = encode(noise(32, 32))
    return good[:2] + header + good[2:]


def jpeg_of_scans(scans: int, size: tuple[int, int]) -> bytes:
    """A progressive JPEG that repeats its last refinement, which fits any number of times once its bits are known."""
    good = encode(Image.new("L", size, 99), progressive=True, quality=50)
    starts = [i for i in range(len(good)) if good[i : i + 2] == b"\xff\xda"]
    tables = good.rindex(b"\xff\xc4", 0, starts[-1])
    last = good[tables:-2]
    return good[:-2] + last * scans + b"\xff\xd9"


def jpeg_exif(size: int) -> bytes:
    """EXIF is cut into segments of at most 64 kB, which Pillow puts together again."""
    block = exif_over_one_region(65_000, 65_000)[:size]
    pieces = [block[i : i + 60_000] for i in range(0, len(block), 60_000)]
    mark = b"Exif\0\0"
    return jpeg_with(b"".join(segment(0xE1, (mark if i else b"") + piece) for i, piece in enumerate(pieces)))


# PNG


def png_of(*chunks: bytes) -> bytes:
    good = encode(noise(8, 8), "PNG")
    return good[:33] + b"".join(chunks) + good[33:]


def deflated(piece: bytes, times: int) -> bytes:
    """Pack a piece that repeats, once: what lies behind a full flush of zlib refers to nothing before it."""
    packer = zlib.compressobj(9, wbits=-15)
    packed = packer.compress(piece) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = 1
    for _ in range(times):
        checksum = zlib.adler32(piece, checksum)
    return b"\x78\xda" + packed * times + packer.flush() + struct.pack(">I", checksum)


def zeros(size: int) -> bytes:
    return deflated(bytes(1_000_000), size // 1_000_000)


def paeth(width: int, height: int, bits: int, color: int, row: int) -> bytes:
    """A PNG whose rows all have the costliest filter, over bytes that repeat."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0))
    one = b"\4" + (bytes(range(200)) * 2 * row)[: row - 1]
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", deflated(one, height)) + png_chunk(b"IEND", b"")


def png_of_two_headers(data: bytes, width: int, height: int) -> bytes:
    """A PNG before whose header another says fewer bits: Pillow believes the last one, or the first."""
    return data[:8] + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)) + data[8:]


def png_of_rows(width: int, height: int, bits: int, color: int, row: int, interlaced: bool = False) -> bytes:
    """A PNG all of zeros; `row` is the bytes of a row with its filter byte."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, interlaced))
    data = png_chunk(b"IDAT", zeros(row * height + 1_000_000))
    return b"\x89PNG\r\n\x1a\n" + header + data + png_chunk(b"IEND", b"")


# GIF


def gif_with(extension: bytes) -> bytes:
    good = encode(Image.new("L", (8, 8)), "GIF")
    start = good.index(b",", 13 + 768) if good[10] & 0x80 and good[10] & 7 == 7 else 13 + (3 << ((good[10] & 7) + 1))
    return good[:start] + extension + good[start:]


def gif_of_small_blocks(size: int) -> bytes:
    good = encode(Image.new("L", (8, 8)), "GIF")
    return good[:-2] + b"\1\0" * (size // 2) + good[-2:]


# WebP


def webp_of(*chunks: bytes) -> bytes:
    good = encode(noise(16, 16), "WEBP")
    body = good[12:] + b"".join(chunks)
    header = b"VP8X" + struct.pack("<II", 10, 0x08) + (15).to_bytes(3, "little") + (15).to_bytes(3, "little")
    extended = header[:8] + header[8:12] + header[12:]
    return b"RIFF" + struct.pack("<I", len(body) + 4 + len(extended)) + b"WEBP" + extended + body


def riff_chunk(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


# TIFF


def tiff(tags: dict[int, tuple[int, list[int]]], data: bytes = b"", next_directory: int = 0) -> bytes:
    """A TIFF whose directory stands behind the picture, which starts at 8; types are SHORT (3) and LONG (4)."""
    start = 8 + len(data)
    values_at = start + 2 + 12 * len(tags) + 4
    directory, values = struct.pack("<H", len(tags)), b""
    for tag, (kind, numbers) in sorted(tags.items()):
        packed = struct.pack(f"<{len(numbers)}{'HI'[kind - 3]}", *numbers)
        if len(packed) > 4:
            packed, values = struct.pack("<I", values_at + len(values)), values + packed
        directory += struct.pack("<HHI", tag, kind, len(numbers)) + packed.ljust(4, b"\0")
    return b"II*\0" + struct.pack("<I", start) + data + directory + struct.pack("<I", next_directory) + values


def grey(width: int, height: int, compression: int = 1) -> dict[int, tuple[int, list[int]]]:
    return {256: (4, [width]), 257: (4, [height]), 258: (3, [8]), 259: (3, [compression]), 262: (3, [1]), 277: (3, [1])}


def tiff_of_tags(tags: int) -> bytes:
    """Tags that nobody knows, over one region."""
    extra = b"".join(struct.pack("<HHII", 1000 + i % 60_000, 7, 60_000, 8) for i in range(tags))
    good = tiff(grey(8, 8) | {273: (4, [8]), 278: (4, [8]), 279: (4, [64])}, bytes(60_000))
    start = struct.unpack_from("<I", good, 4)[0]
    known = struct.unpack_from("<H", good, start)[0]
    return good[:start] + struct.pack("<H", known + tags) + good[start + 2 : -4] + extra + bytes(4)


def tiff_of_a_tile(side: int) -> bytes:
    packed = zlib.compress(bytes(1_000_000))
    tile = {322: (4, [side]), 323: (4, [side]), 324: (4, [8]), 325: (4, [len(packed)])}
    return tiff(grey(16, 16, 8) | tile, packed)


def tiff_of_wasted_tiles() -> bytes:
    """A picture one pixel high in tiles that are 65,520 pixels high."""
    packed = zlib.compress(bytes(16 * 65_520))
    tiles = 4_000
    tile = {322: (4, [16]), 323: (4, [65_520]), 324: (4, [8] * tiles), 325: (4, [len(packed)] * tiles)}
    return tiff(grey(16 * tiles, 1, 8) | tile, packed)


def tiff_of_strips(strips: int) -> bytes:
    strip = {273: (4, [8] * strips), 278: (4, [1]), 279: (4, [1] * strips)}
    return tiff(grey(1, 60_000) | strip, b"x")


def tiff_of_rows(rows: int) -> bytes:
    strip = {273: (4, [8 + i for i in range(rows)]), 278: (4, [1]), 279: (4, [1] * rows)}
    return tiff(grey(1, rows) | strip, bytes(rows))


def tiff_of_overlapping_strips(strips: int, size: int) -> bytes:
    strip = {273: (4, [8] * strips), 278: (4, [1]), 279: (4, [size] * strips)}
    return tiff(grey(8, strips, 8) | strip, bytes(size))


def tiff_of_lzma() -> bytes:
    """16 megapixels of 8 bytes each, in strips that are all the same: their runs are broken again and again."""
    width, height, rows = 4_000, 4_000, 250
    broken = np.random.default_rng(1).choice(np.array([0, 255], np.uint8), width * rows * 8, p=[0.985, 0.015])
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 20, "nice_len": 2, "depth": 1}]
    strip = lzma.compress(broken.tobytes(), lzma.FORMAT_XZ, lzma.CHECK_NONE, filters=filters)
    count = height // rows
    starts = {273: (4, [8] * count), 278: (4, [rows]), 279: (4, [len(strip)] * count)}
    kind = {258: (3, [16] * 4), 262: (3, [2]), 277: (3, [4]), 338: (3, [2])}
    return tiff(grey(width, height, 34_925) | kind | starts, strip)


def tiff_of_directories(pages: int) -> bytes:
    """Directories that each name the next, behind a good first one."""
    directory = {273: (4, [8]), 278: (4, [8]), 279: (4, [64])}
    first = tiff(grey(8, 8) | directory, bytes(64))
    size = 2 + 12 + 4
    rest = b"".join(struct.pack("<HHHIII", 1, 256, 4, 1, 8, len(first) + size * (i + 1)) for i in range(pages))
    return tiff(grey(8, 8) | directory, bytes(64), len(first)) + rest


def tiff_of_jpeg(scans: int, size: tuple[int, int]) -> bytes:
    """A strip that is a JPEG of many scans."""
    data = jpeg_of_scans(scans, size)
    return tiff(grey(*size, 7) | {273: (4, [8]), 278: (4, [size[1]]), 279: (4, [len(data)])}, data)


# AVIF and HEIC: the same boxes around AV1 and HEVC

SIDE = 64  # of a tile
BRANDS = {"AVIF": b"avif\0\0\0\0avifmif1miaf", "HEIF": b"heic\0\0\0\0mif1heic"}
CODED = {"AVIF": b"av01", "HEIF": b"hvc1"}
CONFIGURATION = {"AVIF": (b"av1C", b"pixi"), "HEIF": (b"hvcC",)}


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def size(width: int, height: int) -> bytes:
    return box(b"ispe", struct.pack(">III", 0, width, height))


def boxes_of(
    name: str,
    items: Sequence[tuple[bytes, bytes]],
    properties: Sequence[bytes],
    links: Sequence[Sequence[int]],
    *more: bytes,
    places: bytes = b"",
) -> bytes:
    """Put a file together of items, each a type and its bytes, of which the first is the picture."""
    infos = b"".join(
        box(b"infe", struct.pack(">IHH4s", 2 << 24, i, 0, kind) + b"\0") for i, (kind, _) in enumerate(items, 1)
    )
    found, start = struct.pack(">IBBH", 1 << 24, 0x44, 0x40, len(items)), 0
    for i, (_, content) in enumerate(items, 1):
        found += struct.pack(">HHH", i, 0, 0) + b"HERE" + struct.pack(">HII", 1, start, len(content))
        start += len(content)
    table = struct.pack(">II", 0, len(links))
    table += b"".join(struct.pack(">HB", i, len(one)) + bytes(one) for i, one in enumerate(links, 1))
    parts = [
        box(b"hdlr", bytes(8) + b"pict" + bytes(13)),
        box(b"pitm", struct.pack(">IH", 0, 1)),
        box(b"iinf", struct.pack(">IH", 0, len(items)) + infos),
        box(b"iloc", places or found),
        box(b"iprp", box(b"ipco", b"".join(properties)) + box(b"ipma", table)),
        *more,
    ]
    head = box(b"ftyp", BRANDS[name]) + box(b"meta", bytes(4) + b"".join(parts))
    return head.replace(b"HERE", struct.pack(">I", len(head) + 8)) + box(b"mdat", b"".join(item for _, item in items))


def tile(name: str, picture: Image.Image | None = None) -> tuple[bytes, list[bytes]]:
    """Return the code of a picture, by default SIDE x SIDE red pixels, and its properties."""
    good = encode(picture or Image.new("RGB", (SIDE, SIDE), "red"), name, speed=10)
    starts = [good.index(kind) - 4 for kind in CONFIGURATION[name]]
    properties = [good[start : start + struct.unpack_from(">I", good, start)[0]] for start in starts]
    return good[good.index(b"mdat") + 4 :], properties


def grid(
    name: str,
    columns: int,
    rows: int,
    claimed: tuple[int, int] | None = None,
    tiles: int = 0,
    picture: Image.Image | None = None,
) -> bytes:
    """A grid of tiles as phones write it: `tiles` different ones, shown again and again; by default each once.

    Each shows `picture`, a square, or is red.
    """
    data, configuration = tile(name, picture)
    side = picture.width if picture else SIDE
    number = tiles or columns * rows
    width, height = claimed or (side * columns, side * rows)
    content = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, width, height)
    shown = [2 + i % number for i in range(columns * rows)]
    references = box(b"iref", bytes(4) + box(b"dimg", struct.pack(f">HH{len(shown)}H", 1, len(shown), *shown)))
    items = [(b"grid", content), *[(CODED[name], data)] * number]
    properties = [size(width, height), size(side, side), *configuration]
    pixels = list(range(4, 3 + len(configuration)))
    return boxes_of(name, items, properties, [[1, *pixels], *[[2, 0x83, *pixels]] * number], references)


def claiming(name: str) -> bytes:
    """A file whose boxes say one size and whose code another, larger one."""
    real = (3_000, 2_000)
    return encode(Image.new("L", real, 9), name, speed=10).replace(size(*real), size(SIDE, SIDE))


def frames(name: str, number: int) -> bytes:
    """A picture whose code has its frame many times over."""
    content, configuration = tile(name)
    links = [[1, 0x82, *range(3, 2 + len(configuration))]]
    return boxes_of(name, [(CODED[name], content * number)], [size(SIDE, SIDE), *configuration], links)


def grid_of_itself(name: str) -> bytes:
    reference = box(b"iref", bytes(4) + box(b"dimg", struct.pack(">HHH", 1, 1, 1)))
    content = struct.pack(">BBBBHH", 0, 0, 0, 0, SIDE, SIDE)
    return boxes_of(name, [(b"grid", content)], [size(SIDE, SIDE)], [[1]], reference)


def avif_of_items(items: int) -> bytes:
    """A good AVIF with a table of items that are not there: libavif looks each one up among all."""
    good = encode(noise(32, 32), "AVIF")
    table = good.index(b"iinf") - 4
    end = table + struct.unpack_from(">I", good, table)[0]
    extra = b"".join(
        box(b"infe", struct.pack(">IHH4s", 2 << 24, 1000 + i % 60_000, 0, b"hvc1") + b"\0") for i in range(items)
    )
    known = struct.unpack_from(">H", good, table + 12)[0]
    new = box(b"iinf", struct.pack(">IH", 0, min(65_535, known + items)) + good[table + 14 : end] + extra)
    meta = good.index(b"meta") - 4
    grown = struct.pack(">I", struct.unpack_from(">I", good, meta)[0] + len(new) - (end - table))
    return good[:meta] + grown + good[meta + 4 : table] + new + good[end:]


def avif_exif(tags: int) -> bytes:
    """Pillow parses EXIF when it writes, too: it gets an empty one, in whose place the other is put."""
    block = exif_over_one_region(tags, 12 * tags)
    empty = b"Exif\0\0II*\0\x08\0\0\0\0\0".ljust(len(block), b"\0")
    return encode(noise(32, 32), "AVIF", exif=empty).replace(empty[6:], block[6:])


def avif_of_pieces(pieces: int, items: int) -> bytes:
    """An item in any number of pieces of no bytes, for which a table needs none either."""
    places = struct.pack(">IBBH", 0, 0x00, 0x00, items)
    places += b"".join(struct.pack(">HHH", i + 1, 0, pieces) for i in range(items))
    properties = [size(SIDE, SIDE), *tile("AVIF")[1]]
    return boxes_of("AVIF", [(b"av01", b"")], properties, [], places=places)


def heic_of_parameter_sets() -> bytes:
    content, [configuration] = tile("HEIF")
    known = bytearray(configuration)
    known[8 + 22] = 200
    long = box(b"hvcC", bytes(known[8 : 8 + 23]) + struct.pack(">BH", 33, 60_000) * 200)
    return boxes_of("HEIF", [(b"hvc1", content)], [size(SIDE, SIDE), long], [[1, 0x82]])


RLE_DELTA = b"\0\2\0\xff"

# How a file may be answered: decoded, refused as damaged, or refused as too large. A heavy one reaches a limit of time
# or memory on some machines, and its decoder then says what it can.
GOOD, BAD, LARGE, HEAVY = {200}, {400}, {413}, {200, 400, 413}

FILES: dict[str, tuple[Callable[[], bytes], set[int]]] = {
    "bmp-delta-wide": (lambda: bmp(10_000_000, 1, 1, RLE_DELTA), LARGE),
    "bmp-delta-high": (lambda: bmp(1, 10_000_000, 1, RLE_DELTA * 50_000), LARGE),
    "bmp-delta": (lambda: bmp(65_535, 122, 1, RLE_DELTA), GOOD),
    "bmp-runs": (lambda: bmp(2_000, 3_900, 1, b"\1\7" * 990_000), HEAVY),
    "bmp-ends-of-lines": (lambda: bmp(65_535, 762, 1, b"\1\1\0\0" * 762), HEAVY),
    "bmp-runs-of-4-bits": (lambda: bmp(4_000, 2_000, 2, b"\xff\x12" * 40_000, 4), BAD),
    "jpeg-exif-over-one-region": (lambda: jpeg_with(segment(0xE1, exif_over_one_region(1_000, 60_000)[:65_000])), GOOD),
    "jpeg-exif-of-segments": (lambda: jpeg_exif(1_000_000), LARGE),
    "jpeg-comments": (lambda: jpeg_with(repeated(segment(0xFE, b"x"), MOST)), HEAVY),
    "jpeg-icc": (lambda: jpeg_with(repeated(segment(0xE2, b"ICC_PROFILE\0\1\xff" + bytes(60_000)), MOST)), GOOD),
    "jpeg-tables": (lambda: jpeg_with(repeated(segment(0xDB, (b"\0" + bytes([9]) * 64) * 1_000), MOST)), HEAVY),
    "jpeg-scans": (lambda: jpeg_of_scans(13_000, (512, 512)), HEAVY),
    "jpeg-fill-before": (lambda: jpeg_with(b"\xff" * MOST), HEAVY),
    "jpeg-fill-within": (lambda: (good := encode(noise(32, 32)))[:-2] + b"\xff" * MOST + good[-2:], HEAVY),
    "jpeg-junk": (lambda: jpeg_with(b"x" * MOST), BAD),
    "png-exif": (lambda: png_of(png_chunk(b"eXIf", exif_over_one_region(65_000, 800_000)[6:])), HEAVY),
    "png-tiny-chunks": (lambda: png_of(repeated(png_chunk(b"prIv", b""), MOST)), HEAVY),
    "png-tiny-data": (lambda: png_of(repeated(png_chunk(b"IDAT", b""), MOST)), HEAVY),
    "png-profiles": (lambda: png_of(repeated(png_chunk(b"iCCP", b"p\0\0" + zeros(1_000_000)), 5_000_000)), HEAVY),
    "png-texts": (lambda: png_of(repeated(png_chunk(b"zTXt", b"k\0\0" + zeros(1_000_000)), 5_000_000)), BAD),
    "png-exif-as-text": (lambda: png_of(png_chunk(b"zTXt", b"Raw profile type exif\0\0" + zeros(200_000_000))), BAD),
    "png-more-data-than-pixels": (
        lambda: png(1, 1, 8, 0, bytes(2)).replace(
            png_chunk(b"IDAT", zlib.compress(bytes(2))), png_chunk(b"IDAT", zeros(500_000_000))
        ),
        GOOD,
    ),
    "png-one-column": (lambda: png_of_rows(1, 49_000_000, 1, 0, 2), LARGE),
    "png-paeth": (lambda: paeth(7_800, 4_000, 16, 6, 62_401), HEAVY),
    "webp-exif": (lambda: webp_of(riff_chunk(b"EXIF", exif_over_one_region(65_000, 800_000))), HEAVY),
    "webp-tiny-chunks": (lambda: webp_of(repeated(riff_chunk(b"none", b""), 5_000_000)), GOOD),
    "webp-50-megapixels": (
        lambda: encode(Image.new("RGBA", (8_000, 6_200), (1, 2, 3, 77)), "WEBP", lossless=True, quality=0, method=0),
        LARGE,
    ),
    "gif-comments": (lambda: gif_with(b"!\xfe" + b"\1c" * (MOST // 2) + b"\0"), HEAVY),
    "gif-data-of-small-blocks": (lambda: gif_of_small_blocks(MOST), GOOD),
    "gif-unknown": (lambda: gif_with(b"x" * MOST), HEAVY),
    "tiff-tags": (lambda: tiff_of_tags(64_000), LARGE),
    "tiff-tile": (lambda: tiff_of_a_tile(45_008), BAD),
    "tiff-wasted-tiles": (tiff_of_wasted_tiles, HEAVY),
    "tiff-strips": (lambda: tiff_of_strips(2_400_000), HEAVY),
    "tiff-overlap": (lambda: tiff_of_overlapping_strips(60_000, 10_000_000), BAD),
    "tiff-directories": (lambda: tiff_of_directories(1_000_000), GOOD),
    "tiff-jpeg-scans": (lambda: tiff_of_jpeg(13_000, (512, 512)), BAD),
    "avif-exif": (lambda: avif_exif(65_000), LARGE),
    "avif-items": (lambda: avif_of_items(60_000), HEAVY),
    "avif-alpha": (lambda: encode(Image.new("RGBA", (3_000, 3_000), (1, 2, 3, 77)), "AVIF", speed=10), HEAVY),
    "avif-pieces": (lambda: avif_of_pieces(65_535, 10_000), HEAVY),
    "tiff-strips-of-a-row": (lambda: tiff_of_rows(10_000), GOOD),
    "webp-noise": (lambda: encode(noise(900, 900), "WEBP", lossless=True, quality=0, method=0), GOOD),
    "jpeg-arithmetic": (lambda: arithmetic_jpeg(7_000), HEAVY),
    "jpeg-arithmetic-restarts": (lambda: arithmetic_jpeg(7_000, restart=True), HEAVY),
    "jpeg-arithmetic-scans": (lambda: arithmetic_jpeg(2_000, scans=1_000), HEAVY),
    "jpeg-restarts": (lambda: jpeg_of_restarts(7_000), HEAVY),
    "png-two-headers": (lambda: png_of_two_headers(paeth(8_000, 6_250, 16, 6, 64_001), 8_000, 6_250), HEAVY),
    "tiff-lzma": (tiff_of_lzma, HEAVY),
    "avif-claims": (lambda: claiming("AVIF"), GOOD),
    "avif-grid": (lambda: grid("AVIF", 10, 10), GOOD),
    "avif-grid-of-one-tile": (lambda: grid("AVIF", 20, 20, tiles=1), BAD),
    "avif-large-grid": (lambda: grid("AVIF", 110, 100), HEAVY),
    "avif-grid-of-itself": (lambda: grid_of_itself("AVIF"), BAD),
    "avif-frames": (lambda: frames("AVIF", 5_000), GOOD),
    "heic-claims": (lambda: claiming("HEIF"), GOOD | BAD),
    "heic-frames": (lambda: frames("HEIF", 5_000), HEAVY),
    "heic-grid-larger-than-it-says": (lambda: grid("HEIF", 100, 100, (64, 64), tiles=1), HEAVY),
    "heic-900-megapixels": (lambda: grid("HEIF", 1, 1, (30_000, 30_000)), LARGE | BAD),
    "heic-40,000-tiles": (lambda: grid("HEIF", 200, 200), HEAVY),
    "heic-one-tile-of-noise": (lambda: grid("HEIF", 13, 13, picture=noise(512, 512), tiles=1), HEAVY),
    "heic-grid-of-itself": (lambda: grid_of_itself("HEIF"), BAD),
    "heic-parameter-sets": (heic_of_parameter_sets, GOOD | BAD),
}
