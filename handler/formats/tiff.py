"""The structure of a TIFF: the tags of its first directory (TIFF 6.0, BigTIFF)."""

from __future__ import annotations

import math

from handler.formats import ifd, jpeg
from handler.formats.ifd import Entry, Layout
from handler.formats.orientation import ORIENTATION, UPRIGHT, orientation
from handler.formats.picture import File, Picture, cut_short, too_many

# Largest seen: 54 tags in photos, 1,200 strips. A strip a row is 65,535, which is our longest side.
MAX_ENTRIES = 4_000
MAX_PARTS = 70_000
MAX_JPEG_PARTS = 10_000  # each at least 8 rows; 50 megapixels in tiles of 128 are 3,052
# Of any other tag that decoding needs: a palette of 16 bits has 393,216 bytes.
MAX_TAG_BYTES = 400_000
# What all tiles hold, those at the edges with what lies beyond the picture.
MAX_TILED_PIXELS = 100_000_000

WIDTH, HEIGHT, BITS, COMPRESSION = 256, 257, 258, 259
SAMPLES, ROWS_PER_STRIP, PLANES = 277, 278, 284
TILE_WIDTH, TILE_HEIGHT = 322, 323
OFFSETS, BYTE_COUNTS = (273, 324), (279, 325)
XMP = 700
# Beside those: photometric, fill order, fax options, predictor, palette, extra samples, formats, JPEG and YCbCr.
NEEDED = {WIDTH, HEIGHT, BITS, COMPRESSION, SAMPLES, ROWS_PER_STRIP, PLANES, TILE_WIDTH, TILE_HEIGHT}
NEEDED |= {*OFFSETS, *BYTE_COUNTS, 262, 266, 292, 293, 317, 320, 332, 338, 339, 347, *range(512, 522), *range(529, 533)}
JPEG = 7


def read(data: File) -> Picture:
    """Check a TIFF and give it a directory of the tags that decoding needs; other pages are dropped.

    Raises BadRequest past a limit; ValueError or struct.error if the directory is none.
    """
    layout, first = ifd.header(data)
    if ifd.number_of_entries(data, layout, first) > MAX_ENTRIES:
        raise too_many("tags", MAX_ENTRIES)
    tags = {entry.tag: entry for entry in ifd.entries(data, layout, first)}
    kept = {tag: entry for tag, entry in tags.items() if tag in NEEDED}
    for tag, entry in kept.items():
        if tag in OFFSETS + BYTE_COUNTS:
            if entry.count > MAX_PARTS:
                raise too_many("strips or tiles", MAX_PARTS)
        elif entry.size > MAX_TAG_BYTES:
            raise too_many("bytes in a tag", MAX_TAG_BYTES)

    width, height = (_one(data, layout, kept, tag, 0) for tag in (WIDTH, HEIGHT))
    if min(width, height) < 1:
        raise cut_short("a TIFF without pixels")
    compression = _one(data, layout, kept, COMPRESSION, 1)
    part = _part_pixels(data, layout, kept, width, height)
    _check_parts(data, layout, kept, compression)
    bits = max(ifd.integers(data, layout, kept[BITS]), default=1) if BITS in kept else 1
    samples = _one(data, layout, kept, SAMPLES, 3)
    part_bytes = 0 if compression == 1 else part * (samples * bits // 8 + (4 if compression == JPEG else 0))
    pixels = width * height
    turned = _orientation(data, layout, tags)
    return Picture(
        "TIFF", _rebuilt(data, layout, kept), width, height, pixels * 4 + max(pixels * 4, part_bytes), turned
    )


def _one(data: File, layout: Layout, tags: dict[int, Entry], tag: int, default: int) -> int:
    return ifd.integers(data, layout, tags[tag])[0] if tag in tags and tags[tag].count else default


def _part_pixels(data: File, layout: Layout, tags: dict[int, Entry], width: int, height: int) -> int:
    """Pixels of a strip or a tile, which the decoder holds in memory."""
    if TILE_WIDTH not in tags:
        return width * min(height, _one(data, layout, tags, ROWS_PER_STRIP, height))
    across, down = (_one(data, layout, tags, tag, 0) for tag in (TILE_WIDTH, TILE_HEIGHT))
    if min(across, down) < 1:
        raise cut_short("tiles without pixels")
    if math.ceil(width / across) * math.ceil(height / down) * across * down > MAX_TILED_PIXELS:
        raise too_many("pixels in its tiles", MAX_TILED_PIXELS)
    return across * down


def _check_parts(data: File, layout: Layout, tags: dict[int, Entry], compression: int) -> None:
    """Check that strips or tiles do not lie over each other, and what the JPEGs among them cost."""
    for offset, byte_count in zip(OFFSETS, BYTE_COUNTS, strict=True):
        if offset not in tags:
            continue
        if byte_count not in tags:
            if compression == JPEG:
                raise cut_short("strips without a length")
            continue
        starts, sizes = (ifd.integers(data, layout, tags[tag]) for tag in (offset, byte_count))
        parts = [(start, min(start + size, len(data))) for start, size in zip(starts, sizes, strict=False)]
        if sum(max(0, end - start) for start, end in parts) > 2 * len(data):
            raise cut_short("strips or tiles that lie over each other")
        if compression == JPEG:
            if len(parts) > MAX_JPEG_PARTS:
                raise too_many("strips or tiles of JPEG", MAX_JPEG_PARTS)
            jpeg.check_parts(data[start:end] for start, end in parts)


def _orientation(data: File, layout: Layout, tags: dict[int, Entry]) -> int:
    found = _one(data, layout, tags, ORIENTATION, 0)
    if ORIENTATION in tags or XMP not in tags:
        return found if found in UPRIGHT else 1
    return orientation(None, bytes(data[tags[XMP].values : tags[XMP].values + tags[XMP].size]))


def _rebuilt(data: File, layout: Layout, kept: dict[int, Entry]) -> bytes:
    """Write a directory of the needed tags behind the file, their values where they were, and point to it."""
    end = len(data) + len(data) % 2
    where = 4 if layout.offset.size == 4 else 8
    return b"".join(
        [
            data[:where],
            layout.offset.pack(end),
            memoryview(data)[where + layout.offset.size :],
            bytes(len(data) % 2),
            layout.count.pack(len(kept)),
            *(data[entry.at : entry.at + layout.entry.size] for entry in kept.values()),
            layout.offset.pack(0),
        ]
    )
