"""The structure of an AVIF: boxes (ISO/IEC 14496-12 and 23008-12, AV1 Image File Format 1.1)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from handler.formats import av1
from handler.formats.picture import File, Picture, cut_short, too_many

# Pillow's own files have 25 boxes and 1 kB of tables. A grid of 50 megapixels in tiles of 512 has 200 items.
MAX_BOXES = 5_000
MAX_PIECES = 10_000
MAX_FRAMES = 100_000
MAX_TABLE_BYTES = 65_536
MAX_TRACK_BYTES = 1_048_576  # an animation of 10,000 frames has 160,000
# AV1 may hold more frames than are shown, and larger ones than the file says: color, alpha and their layers.
MOST_CODED, SMALL = 4, 1_000_000

TABLES = {b"iloc", b"iinf", b"iref", b"ipma", b"pitm"}
# libavif's planes and its RGB, the bytes that Pillow takes from it, and Pillow's picture: 9.2 were measured of an
# ordinary photo (4:2:0, 8 bits, no alpha), 10.8 of 4:4:4, 13.5 of that with alpha. More than 8 bits double the planes.
BYTES_A_PIXEL, MORE_FOR_DENSE, MORE_FOR_DEPTH = 10, 4, 6
HIGH_BIT_DEPTH, MONOCHROME, SUBSAMPLED = 0x40, 0x10, 0x0C  # flags of av1C
METADATA = {b"Exif", b"mime"}
UNKNOWN = b"skip"
ROAD_TO_TABLES = (b"trak", b"mdia", b"minf", b"stbl")

Place = tuple[int, int]


@dataclass
class Found:
    """What is gathered of a file: the largest size it claims, where its AV1 lies, and the metadata's names."""

    sides: tuple[int, int] = (0, 0)
    dense: bool = False
    deep: bool = False
    items: dict[int, bytes] = field(default_factory=dict)
    coded: list[list[Place]] = field(default_factory=list)
    metadata: list[int] = field(default_factory=list)
    boxes: int = 0
    track_bytes: int = 0

    def claim(self, width: int, height: int) -> None:
        self.sides = max(self.sides, (width, height), key=lambda sides: sides[0] * sides[1])


def read(data: File) -> Picture:
    """Check an AVIF and hide its metadata. Raises BadRequest past a limit or if it has no picture.

    libavif turns what irot and imir say into an orientation, which is the one that counts: EXIF's does not.
    """
    found = Found()
    for kind, start, end in _boxes(data, 0, len(data), found):
        if kind == b"meta":
            _read_meta(data, start + 4, end, found)
        elif kind == b"moov":
            found.track_bytes += end - start
            if found.track_bytes > MAX_TRACK_BYTES:
                raise too_many("bytes of tracks", MAX_TRACK_BYTES)
            _read_tracks(data, start, end, found, ROAD_TO_TABLES)
    if not found.sides[0] * found.sides[1] or not found.coded:
        raise cut_short("an AVIF without a picture")
    if sum(end - start for places in found.coded for start, end in places) > 2 * len(data):
        raise cut_short("pictures that lie over each other")
    width, height = found.sides
    limit = MOST_CODED * width * height + SMALL
    total = units = 0
    for places in found.coded:
        pixels, number = av1.coded_pixels(b"".join(data[start:end] for start, end in places))
        total, units = total + pixels, units + number
        if units > av1.MAX_UNITS:
            raise too_many("units of AV1", av1.MAX_UNITS)
        if total > limit:
            raise too_many("pixels in frames that it does not show", limit)
    bytes_a_pixel = BYTES_A_PIXEL + MORE_FOR_DENSE * found.dense + MORE_FOR_DEPTH * found.deep
    return Picture("AVIF", _hidden(data, found.metadata), width, height, width * height * bytes_a_pixel)


def _boxes(data: File, start: int, end: int, found: Found) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, and start and end of the content, of the boxes between two places."""
    while start + 8 <= end:
        found.boxes += 1
        if found.boxes > MAX_BOXES:
            raise too_many("boxes", MAX_BOXES)
        size, kind = struct.unpack_from(">I4s", data, start)
        content = start + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, content)
            content += 8
        elif size == 0:
            size = end - start
        if size < content - start or start + size > end:
            raise cut_short("a box that ends past its place")
        yield kind, content, start + size
        start += size


def _read_meta(data: File, start: int, end: int, found: Found) -> None:
    places = {}
    for kind, at, until in _boxes(data, start, end, found):
        if kind in TABLES and until - at > MAX_TABLE_BYTES:
            raise too_many("bytes in a table", MAX_TABLE_BYTES)
        if kind == b"iprp":
            _read_properties(data, at, until, found)
        elif kind in (b"iinf", b"iloc", b"idat"):
            places[kind] = (at, until)
    if b"iinf" in places:
        at, until = places[b"iinf"]
        _read_items(data, at + (6 if data[at] == 0 else 8), until, found)
    if b"iloc" in places:
        pieces: dict[int, list[Place]] = {}
        for item, place in _locations(data, places):
            pieces.setdefault(item, []).append(place)
        found.coded += [where for item, where in pieces.items() if found.items.get(item) == b"av01"]


def _read_properties(data: File, start: int, end: int, found: Found) -> None:
    for kind, at, until in _boxes(data, start, end, found):
        if kind == b"ipma" and until - at > MAX_TABLE_BYTES:
            raise too_many("bytes in a table", MAX_TABLE_BYTES)
        if kind == b"ipco":
            for name, where, _ in _boxes(data, at, until, found):
                if name == b"ispe":
                    found.claim(*struct.unpack_from(">II", data, where + 4))
                elif name == b"auxC":  # alpha
                    found.dense = True
                elif name == b"av1C":
                    flags = data[where + 2]
                    found.deep |= bool(flags & HIGH_BIT_DEPTH)
                    found.dense |= not (flags & MONOCHROME or flags & SUBSAMPLED == SUBSAMPLED)


def _read_items(data: File, start: int, end: int, found: Found) -> None:
    for kind, at, _ in _boxes(data, start, end, found):
        if kind == b"infe" and data[at] in (2, 3):
            item, name = (at + 4, at + 8) if data[at] == 2 else (at + 4, at + 10)
            item_type = bytes(data[name : name + 4])
            found.items[int.from_bytes(data[item : name - 2], "big")] = item_type
            if item_type in METADATA:
                found.metadata.append(name)


def _locations(data: File, places: dict[bytes, Place]) -> Iterator[tuple[int, Place]]:
    """Yield the items' ids and where each piece of them lies in the file."""
    at, end = places[b"iloc"]
    version = data[at]
    offset_size, length_size = data[at + 4] >> 4, data[at + 4] & 15
    base_size, index_size = data[at + 5] >> 4, data[at + 5] & 15 if version else 0
    id_size = 4 if version == 2 else 2
    at += 6
    left = MAX_PIECES

    def take(size: int) -> int:
        nonlocal at
        at += size
        if at > end:
            raise cut_short("a table of places that ends early")
        return int.from_bytes(data[at - size : at], "big")

    for _ in range(take(id_size)):
        item = take(id_size)
        in_idat = version > 0 and take(2) & 15 == 1
        take(2)
        base = take(base_size) + (places.get(b"idat", (0, 0))[0] if in_idat else 0)
        for _ in range(take(2)):
            left -= 1
            if left < 0:
                raise too_many("pieces of pictures", MAX_PIECES)
            take(index_size)
            start = base + take(offset_size)
            length = take(length_size)
            until = start + length if length else len(data)
            if until > len(data):
                raise cut_short("a picture that lies past the end")
            yield item, (start, until)


def _read_tracks(data: File, start: int, end: int, found: Found, road: tuple[bytes, ...]) -> None:
    """Note the size of each track and where its first frame lies; `road` names the boxes still to be opened."""
    first: dict[bytes, int] = {}
    common = chunks = most = 0
    for kind, at, until in _boxes(data, start, end, found):
        if kind in road[:1]:
            _read_tracks(data, at, until, found, road[1:])
        elif kind == b"tkhd":
            width, height = struct.unpack_from(">II", data, until - 8)  # fixed point, 16 bits behind it
            found.claim(width >> 16, height >> 16)
        elif kind == b"stsz":
            common, _, own = struct.unpack_from(">III", data[at : at + 16].ljust(16, b"\0"), 4)
            first[kind] = common or own
        elif kind in (b"stco", b"co64"):
            chunks = int.from_bytes(data[at + 4 : at + 8], "big")
            first[b"stco"] = int.from_bytes(data[at + 8 : at + (12 if kind == b"stco" else 16)], "big")
        elif kind == b"stsc":
            most = max(_frames_of_chunks(data, at, until), default=0)
    if common and chunks * most > MAX_FRAMES:  # frames of one size need no table of sizes, and may be any number
        raise too_many("frames", MAX_FRAMES)
    if len(first) == 2:
        place = (first[b"stco"], first[b"stco"] + first[b"stsz"])
        if place[1] > len(data):
            raise cut_short("a picture that lies past the end")
        found.coded.append([place])


def _frames_of_chunks(data: File, start: int, end: int) -> list[int]:
    """Read from a table of chunks how many frames each kind of them holds."""
    number = int.from_bytes(data[start + 4 : start + 8], "big")
    places = range(start + 12, min(end, start + 8 + 12 * number), 12)
    return [int.from_bytes(data[place : place + 4], "big") for place in places]


def _hidden(data: File, metadata: list[int]) -> File:
    """Give items of metadata a type that nobody reads; nothing moves."""
    if not metadata:
        return data
    changed = bytearray(data)
    for place in metadata:
        changed[place : place + 4] = UNKNOWN
    return changed
