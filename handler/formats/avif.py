"""The structure of an AVIF: boxes (ISO/IEC 14496-12 and 23008-12, AV1 Image File Format 1.1)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from handler.formats import av1
from handler.formats.boxes import Counted, Place, boxes, hidden, items, locations, tables
from handler.formats.picture import File, Picture, cut_short, too_many

MAX_FRAMES = 100_000
MAX_TRACK_BYTES = 1_048_576  # an animation of 10,000 frames has 160,000
# AV1 may hold more frames than are shown, and larger ones than the file says: color, alpha and their layers.
MOST_CODED, SMALL = 4, 1_000_000

# libavif's planes and its RGB, the bytes that Pillow takes from it, and Pillow's picture: 9.2 were measured of an
# ordinary photo (4:2:0, 8 bits, no alpha), 10.8 of 4:4:4, 13.5 of that with alpha. More than 8 bits double the planes.
BYTES_A_PIXEL, MORE_FOR_DENSE, MORE_FOR_DEPTH = 10, 4, 6
HIGH_BIT_DEPTH, MONOCHROME, SUBSAMPLED = 0x40, 0x10, 0x0C  # flags of av1C
METADATA = {b"Exif", b"mime"}
ROAD_TO_TABLES = (b"trak", b"mdia", b"minf", b"stbl")


@dataclass
class Found(Counted):
    """What is gathered of a file: the largest size it claims, where its AV1 lies, and the metadata's names."""

    sides: tuple[int, int] = (0, 0)
    dense: bool = False
    deep: bool = False
    items: dict[int, bytes] = field(default_factory=dict)
    coded: list[list[Place]] = field(default_factory=list)
    metadata: list[int] = field(default_factory=list)
    track_bytes: int = 0

    def claim(self, width: int, height: int) -> None:
        self.sides = max(self.sides, (width, height), key=lambda sides: sides[0] * sides[1])


def read(data: File) -> Picture:
    """Check an AVIF and hide its metadata. Raises BadRequest past a limit or if it has no picture.

    libavif turns what irot and imir say into an orientation, which is the one that counts: EXIF's does not.
    """
    found = Found()
    for kind, start, end in boxes(data, 0, len(data), found):
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
    return Picture("AVIF", hidden(data, found.metadata), width, height, width * height * bytes_a_pixel)


def _read_meta(data: File, start: int, end: int, found: Found) -> None:
    places = {}
    for kind, at, until in tables(data, start, end, found):
        if kind == b"iprp":
            _read_properties(data, at, until, found)
        elif kind in (b"iinf", b"iloc", b"idat"):
            places[kind] = (at, until)
    if b"iinf" in places:
        _read_items(data, *places[b"iinf"], found)
    if b"iloc" in places:
        pieces: dict[int, list[Place]] = {}
        for item, place in locations(data, places):
            pieces.setdefault(item, []).append(place)
        found.coded += [where for item, where in pieces.items() if found.items.get(item) == b"av01"]


def _read_properties(data: File, start: int, end: int, found: Found) -> None:
    for kind, at, until in tables(data, start, end, found):
        if kind == b"ipco":
            for name, where, _ in boxes(data, at, until, found):
                if name == b"ispe":
                    found.claim(*struct.unpack_from(">II", data, where + 4))
                elif name == b"auxC":  # alpha
                    found.dense = True
                elif name == b"av1C":
                    flags = data[where + 2]
                    found.deep |= bool(flags & HIGH_BIT_DEPTH)
                    found.dense |= not (flags & MONOCHROME or flags & SUBSAMPLED == SUBSAMPLED)


def _read_items(data: File, start: int, end: int, found: Found) -> None:
    for item, kind, name in items(data, start, end, found):
        found.items[item] = kind
        if kind in METADATA:
            found.metadata.append(name)


def _read_tracks(data: File, start: int, end: int, found: Found, road: tuple[bytes, ...]) -> None:
    """Note the size of each track and where its first frame lies; `road` names the boxes still to be opened."""
    first: dict[bytes, int] = {}
    common = chunks = most = 0
    for kind, at, until in boxes(data, start, end, found):
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
