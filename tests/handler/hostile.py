"""Files that cost a decoder gigabytes or minutes, made in memory from a few lines each.

Pillow opens each of them; `FILES` says with which status a decoder that may take 0.3 s may answer.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence

from PIL import Image

from tests.pictures import encode, noise, png_chunk

MOST = 19_900_000  # bytes: just under the limit of a file


def exif_over_one_region(tags: int, size: int) -> bytes:
    """EXIF whose tags all point to the same bytes: what is parsed is `tags` times what was sent."""
    entries = b"".join(struct.pack("<HHII", 0x9000 + i % 0x6000, 7, size, 0) for i in range(tags))
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", tags) + entries + bytes(4 + max(0, size - 12 * tags))


def repeated(piece: bytes, size: int) -> bytes:
    return piece * max(1, size // len(piece))


# BMP


def bmp(width: int, height: int, compression: int, data: bytes) -> bytes:
    start = 54 + 1024  # behind a palette of 256 colors
    file_header = b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start)
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, compression, len(data), 0, 0, 0, 0)
    return file_header + header + bytes(1024) + data


# JPEG


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def arithmetic_jpeg(side: int) -> bytes:
    """A progressive JPEG in arithmetic coding, of 16 scans without data: all of each block is decoded all the same."""
    table = bytes([1]) * 64
    head = segment(0xDB, b"\0" + table) + segment(0xDB, b"\1" + table)
    colors = b"".join(bytes([color, 0x11, color > 1]) for color in (1, 2, 3))
    head += segment(0xCA, struct.pack(">BHHB", 8, side, side, 3) + colors)
    first = segment(0xDA, bytes([3, 1, 0, 2, 0x10, 3, 0x10, 0, 0, 0]))
    steps = (0x04, 0x43, 0x32, 0x21, 0x10)
    refinements = (segment(0xDA, bytes([1, color, color > 1, 1, 63, step])) for step in steps for color in (1, 2, 3))
    return b"\xff\xd8" + head + first + b"".join(refinements) + b"\xff\xd9"


def jpeg_with(header: bytes) -> bytes:
    """A good JPEG with something behind its first marker."""
    good = encode(noise(32, 32))
    return good[:2] + header + good[2:]


def jpeg_of_scans(scans: int, size: tuple[int, int]) -> bytes:
    """A progressive JPEG that repeats its last refinement, which fits any number of times once its bits are known."""
    good = encode(Image.new("L", size, 99), progressive=True, quality=50)
    tables = good.rindex(b"\xff\xc4", 0, good.rindex(b"\xff\xda"))
    return good[:-2] + good[tables:-2] * scans + b"\xff\xd9"


def jpeg_exif(size: int) -> bytes:
    """EXIF is cut into segments of at most 64 kB, which Pillow puts together again."""
    block = exif_over_one_region(65_000, 65_000)[:size]
    pieces = [block[i : i + 60_000] for i in range(0, len(block), 60_000)]
    return jpeg_with(b"".join(segment(0xE1, (b"Exif\0\0" if i else b"") + piece) for i, piece in enumerate(pieces)))


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


def png_header(width: int, height: int, bits: int, color: int) -> bytes:
    return png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0))


def png_packed(headers: bytes, packed: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + headers + png_chunk(b"IDAT", packed) + png_chunk(b"IEND", b"")


def png_of_zeros(width: int, height: int) -> bytes:
    """A black PNG of one bit a pixel: 50 megapixels are a few kB."""
    return png_packed(png_header(width, height, 1, 0), zeros((1 + (width + 7) // 8) * height + 1_000_000))


def paeth(width: int, height: int, before: bytes = b"") -> bytes:
    """A PNG of 8 bytes a pixel whose rows all have the costliest filter; `before` comes before its header."""
    row = b"\4" + (bytes(range(200)) * width)[: 8 * width]
    return png_packed(before + png_header(width, height, 16, 6), deflated(row, height))


# GIF, WebP


def gif_with(extension: bytes) -> bytes:
    good = encode(Image.new("L", (8, 8)), "GIF")
    start = 13 + (3 << ((good[10] & 7) + 1))  # behind its palette
    return good[:start] + extension + good[start:]


def webp_of(*chunks: bytes) -> bytes:
    side = (15).to_bytes(3, "little")
    body = riff_chunk(b"VP8X", struct.pack("<I", 0x08) + side + side)
    body += encode(noise(16, 16), "WEBP")[12:] + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def riff_chunk(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


# TIFF

Tags = dict[int, tuple[int, list[int]]]
ONE_STRIP: Tags = {273: (4, [8]), 278: (4, [8]), 279: (4, [64])}  # of 8 x 8 pixels


def tiff(tags: Tags, data: bytes, next_directory: int = 0) -> bytes:
    """A TIFF whose directory comes after the picture, which starts at 8; types are SHORT (3) and LONG (4)."""
    start = 8 + len(data)
    values_at = start + 2 + 12 * len(tags) + 4
    directory, values = struct.pack("<H", len(tags)), b""
    for tag, (kind, numbers) in sorted(tags.items()):
        packed = struct.pack(f"<{len(numbers)}{'HI'[kind - 3]}", *numbers)
        if len(packed) > 4:
            packed, values = struct.pack("<I", values_at + len(values)), values + packed
        directory += struct.pack("<HHI", tag, kind, len(numbers)) + packed.ljust(4, b"\0")
    return b"II*\0" + struct.pack("<I", start) + data + directory + struct.pack("<I", next_directory) + values


def grey(width: int, height: int, compression: int = 1) -> Tags:
    return {256: (4, [width]), 257: (4, [height]), 258: (3, [8]), 259: (3, [compression]), 262: (3, [1]), 277: (3, [1])}


def tiff_of_tags(tags: int) -> bytes:
    """Unknown tags over one region."""
    extra = b"".join(struct.pack("<HHII", 1000 + i % 60_000, 7, 60_000, 8) for i in range(tags))
    known = grey(8, 8) | ONE_STRIP
    good, start = tiff(known, bytes(60_000)), 8 + 60_000
    return good[:start] + struct.pack("<H", len(known) + tags) + good[start + 2 : -4] + extra + bytes(4)


def tiff_of_tiles(size: tuple[int, int], tile: tuple[int, int], number: int, packed: bytes) -> bytes:
    width, height = tile
    places = {324: (4, [8] * number), 325: (4, [len(packed)] * number)}
    return tiff(grey(*size, 8) | {322: (4, [width]), 323: (4, [height])} | places, packed)


def tiff_of_directories(pages: int) -> bytes:
    """Directories that each name the next, behind a good first one."""
    tags = grey(8, 8) | ONE_STRIP
    end, size = len(tiff(tags, bytes(64))), 2 + 12 + 4
    rest = b"".join(struct.pack("<HHHIII", 1, 256, 4, 1, 8, end + size * (i + 1)) for i in range(pages))
    return tiff(tags, bytes(64), end) + rest


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
        box(b"iloc", found),
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


RLE_DELTA = b"\0\2\0\xff"

# How a file may be answered: decoded, refused as damaged, or refused as too large. A heavy one reaches a limit of time
# or memory on some machines, and its decoder then says what it can.
GOOD, BAD, LARGE, HEAVY = {200}, {400}, {413}, {200, 400, 413}

FILES: dict[str, tuple[Callable[[], bytes], set[int]]] = {
    "bmp-one-column": (lambda: bmp(1, 10_000_000, 1, RLE_DELTA * 50_000), LARGE),
    "bmp-runs": (lambda: bmp(2_000, 3_900, 1, b"\1\7" * 990_000), HEAVY),
    "jpeg-exif-over-one-region": (lambda: jpeg_with(segment(0xE1, exif_over_one_region(1_000, 60_000)[:65_000])), GOOD),
    "jpeg-exif-of-segments": (lambda: jpeg_exif(1_000_000), LARGE),
    "jpeg-comments": (lambda: jpeg_with(repeated(segment(0xFE, b"x"), MOST)), HEAVY),
    "jpeg-scans": (lambda: jpeg_of_scans(13_000, (512, 512)), HEAVY),
    "jpeg-junk": (lambda: jpeg_with(b"x" * MOST), BAD),
    "jpeg-arithmetic": (lambda: arithmetic_jpeg(7_000), HEAVY),
    "png-exif": (lambda: png_of(png_chunk(b"eXIf", exif_over_one_region(65_000, 800_000)[6:])), HEAVY),
    "png-tiny-chunks": (lambda: png_of(repeated(png_chunk(b"prIv", b""), MOST)), HEAVY),
    "png-texts": (lambda: png_of(repeated(png_chunk(b"zTXt", b"k\0\0" + zeros(1_000_000)), 5_000_000)), BAD),
    "png-more-data-than-pixels": (lambda: png_packed(png_header(1, 1, 8, 0), zeros(500_000_000)), GOOD),
    "png-one-column": (lambda: png_of_zeros(1, 49_000_000), LARGE),
    "png-paeth": (lambda: paeth(7_800, 4_000), HEAVY),
    "png-two-headers": (lambda: paeth(8_000, 6_250, png_header(8_000, 6_250, 8, 0)), HEAVY),
    "webp-exif": (lambda: webp_of(riff_chunk(b"EXIF", exif_over_one_region(65_000, 800_000))), HEAVY),
    "webp-50-megapixels": (
        lambda: encode(Image.new("RGBA", (8_000, 6_200), (1, 2, 3, 77)), "WEBP", lossless=True, quality=0, method=0),
        LARGE,
    ),
    "gif-comments": (lambda: gif_with(b"!\xfe" + b"\1c" * (MOST // 2) + b"\0"), HEAVY),
    "tiff-tags": (lambda: tiff_of_tags(64_000), LARGE),
    "tiff-tile": (lambda: tiff_of_tiles((16, 16), (45_008, 45_008), 1, zlib.compress(bytes(1_000_000))), BAD),
    "tiff-wasted-tiles": (
        lambda: tiff_of_tiles((64_000, 1), (16, 65_520), 4_000, zlib.compress(bytes(16 * 65_520))),
        HEAVY,
    ),
    "tiff-directories": (lambda: tiff_of_directories(1_000_000), GOOD),
    "avif-alpha": (lambda: encode(Image.new("RGBA", (3_000, 3_000), (1, 2, 3, 77)), "AVIF", speed=10), HEAVY),
    "avif-claims": (lambda: claiming("AVIF"), GOOD),
    "avif-grid-of-one-tile": (lambda: grid("AVIF", 20, 20, tiles=1), BAD),
    "avif-large-grid": (lambda: grid("AVIF", 110, 100), HEAVY),
    "avif-grid-of-itself": (lambda: grid_of_itself("AVIF"), BAD),
    "avif-frames": (lambda: frames("AVIF", 5_000), GOOD),
    "heic-claims": (lambda: claiming("HEIF"), GOOD | BAD),
    "heic-frames": (lambda: frames("HEIF", 5_000), HEAVY),
    "heic-grid-larger-than-it-says": (lambda: grid("HEIF", 100, 100, (64, 64), tiles=1), HEAVY),
    "heic-900-megapixels": (lambda: grid("HEIF", 1, 1, (30_000, 30_000)), LARGE | BAD),
    "heic-one-tile-of-noise": (lambda: grid("HEIF", 13, 13, picture=noise(512, 512), tiles=1), HEAVY),
    "heic-grid-of-itself": (lambda: grid_of_itself("HEIF"), BAD),
}
