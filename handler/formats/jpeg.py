"""The structure of a JPEG: markers, segments and scans (ITU T.81, annex B)."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from handler.formats.orientation import EXIF_MARK, orientation
from handler.formats.picture import File, Picture, cut_short, join, too_many

# Largest seen in photos: 25 segments and scans, 1.3 kB of tables. A color profile may take 255 segments.
MAX_SEGMENTS = 2_000
MAX_SEGMENTS_IN_PARTS = 200_000  # of a TIFF: 10,000 strips of 20
MAX_TABLE_BYTES = 65_536
# The encoders' own scripts have 10 scans, for four colors 24 passes over one color each (libjpeg, mozjpeg: 64 tried).
MAX_SCANS = 100
# Pixels times colors that all scans go over: 50 megapixels of libjpeg's progressive script have 700 million.
MAX_SCANNED = 1_000_000_000

SOI, EOI, SOS, COM = 0xD8, 0xD9, 0xDA, 0xFE
ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a segment: TEM, RST0 to RST7, SOI
FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
TABLES = {0xC4, 0xCC, 0xDB, 0xDD}  # DHT, DAC, DQT, DRI
APPS = range(0xE0, 0xF0)
# What tells how colors are stored; the other application segments and the comments are dropped.
NEEDED = {0xE0: b"JFIF", 0xEE: b"Adobe"}
XMP_MARK = b"http://ns.adobe.com/xap/1.0/\0"

MARKER = re.compile(rb"\xff([^\x00\xff])", re.DOTALL)
# A scan's data has 00 behind FF, or the second byte of a restart marker; fill bytes may stand before a marker.
UNUSUAL = re.compile(rb"\xff[^\x00\xd0-\xd7]", re.DOTALL)
AFTER_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
FILL = re.compile(rb"\xff\xff+")

LENGTH = struct.Struct(">H")


@dataclass
class Frame:
    """Sides, and for each color how many samples it has in relation to the densest."""

    width: int
    height: int
    densities: tuple[float, ...]

    @property
    def coefficients(self) -> float:
        """Bytes a pixel of what a decoder keeps until the last scan."""
        return 2 * sum(self.densities)


@dataclass
class Walk:
    """What is counted on the way through a file."""

    pieces: list[tuple[int, int]] = field(default_factory=lambda: [(0, 2)])
    frame: Frame | None = None
    segments: int = 0
    scans: int = 0
    scanned: int = 0
    in_several_scans: bool = False
    filled: bool = False
    table_bytes: int = 0
    exif: bytes | None = None
    xmp: bytes | None = None


def read(data: File) -> Picture:
    """Check a JPEG and drop its metadata. Raises BadRequest past a limit or if its parts are no JPEG's."""
    walk = Walk()
    for marker, start, end in _segments(data, walk):
        if marker in APPS or marker == COM:
            _read_app(data, marker, start, end, walk)
        else:
            _count(data, marker, start, end, walk)
            walk.pieces.append((start, end))
    if walk.frame is None:
        raise cut_short("a JPEG without a frame")
    frame = walk.frame
    turned = orientation(walk.exif, walk.xmp)
    stored = 1 if len(frame.densities) == 1 else 4
    decoding = stored + (frame.coefficients if walk.in_several_scans else 0)
    rgb = 4 if turned > 1 or len(frame.densities) != 3 else 0
    kept = _without_fill(data, walk.pieces) if walk.filled else join(data, walk.pieces)
    pixels = frame.width * frame.height
    return Picture("JPEG", kept, frame.width, frame.height, int(pixels * max(decoding, stored + rgb)), turned)


def check_parts(parts: Iterable[File]) -> None:
    """Check the JPEGs of one TIFF, its strips or tiles. Raises BadRequest if together they are past a limit."""
    segments = scanned = 0
    for part in parts:
        walk = Walk()
        for marker, start, end in _segments(part, walk):
            if not (marker in APPS or marker == COM):
                _count(part, marker, start, end, walk)
        segments += walk.segments
        scanned += walk.scanned
        if segments > MAX_SEGMENTS_IN_PARTS:
            raise too_many("segments", MAX_SEGMENTS_IN_PARTS)
        if scanned > MAX_SCANNED:
            raise too_many("pixels in all its scans", MAX_SCANNED)


def _segments(data: File, walk: Walk) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of each segment, a scan's data with its header; fill bytes and junk lie between."""
    position = 2
    while found := MARKER.search(data, position):
        walk.segments += 1
        if walk.segments > MAX_SEGMENTS:
            raise too_many("segments", MAX_SEGMENTS)
        start, marker = found.start(), found[1][0]
        if marker == EOI or marker in ALONE:
            end = found.end()
        else:
            end = found.end() + LENGTH.unpack_from(data, found.end())[0]
            if end < found.end() + 2 or end > len(data):
                raise cut_short("a segment that ends past the file or before its own start")
        if marker == SOS:
            end, filled = _end_of_scan(data, end)
            walk.filled |= filled
        yield marker, start, end
        if marker == EOI:
            return
        position = end


def _end_of_scan(data: File, start: int) -> tuple[int, bool]:
    """Find the marker behind a scan's data, and say whether fill bytes stand before it."""
    found = UNUSUAL.search(data, start)
    filled = found is not None and found[0] == b"\xff\xff"
    if found and filled:
        found = AFTER_SCAN.search(data, found.start())
    return found.start() if found else len(data), filled


def _count(data: File, marker: int, start: int, end: int, walk: Walk) -> None:
    if marker in FRAMES:
        if walk.frame is not None:
            raise cut_short("a JPEG of two frames")
        walk.frame = _frame(data, start)
        walk.in_several_scans = marker & 3 == 2
    elif marker in TABLES:
        walk.table_bytes += end - start
        if walk.table_bytes > MAX_TABLE_BYTES:
            raise too_many("bytes of tables", MAX_TABLE_BYTES)
    elif marker == SOS and walk.frame is not None:
        colors = data[start + 4]
        walk.scans += 1
        walk.in_several_scans |= colors < len(walk.frame.densities)
        walk.scanned += colors * walk.frame.width * walk.frame.height
        if walk.scans > MAX_SCANS:
            raise too_many("scans", MAX_SCANS)
        if walk.scanned > MAX_SCANNED:
            raise too_many("pixels in all its scans", MAX_SCANNED)


def _frame(data: File, start: int) -> Frame:
    height, width, colors = struct.unpack_from(">HHB", data, start + 5)
    densities = [(data[at] >> 4) * (data[at] & 15) for at in range(start + 11, start + 10 + 3 * colors, 3)]
    if not densities or not all(densities):
        raise cut_short("a frame without colors or samples")
    return Frame(width, height, tuple(density / max(densities) for density in densities))


def _read_app(data: File, marker: int, start: int, end: int, walk: Walk) -> None:
    """Keep a segment that decoding needs, and of the others the two that may say which way is up."""
    content = start + 4
    if marker in NEEDED and data.startswith(NEEDED[marker], content):
        walk.pieces.append((start, end))
    elif marker == 0xE1 and walk.exif is None and data.startswith(EXIF_MARK, content):
        walk.exif = bytes(data[content:end])
    elif marker == 0xE1 and data.startswith(XMP_MARK, content):
        walk.xmp = bytes(data[content:end])


def _without_fill(data: File, pieces: list[tuple[int, int]]) -> bytes:
    """Put the pieces together with runs of fill bytes in scans cut to one; segments have their own FF FF."""
    view = memoryview(data)
    return b"".join(
        FILL.sub(b"\xff", view[start:end]) if data[start + 1] == SOS else view[start:end] for start, end in pieces
    )
