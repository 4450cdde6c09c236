"""The boxes of a file (ISO/IEC 14496-12), and the items in them (23008-12): what AVIF and HEIC share."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from handler.formats.picture import File, cut_short, too_many

# Pillow's own files have 25 boxes and 1 kB of tables. A grid of 50 megapixels in tiles of 512 has 200 items.
MAX_BOXES = 5_000
MAX_PIECES = 10_000
MAX_TABLE_BYTES = 65_536
TABLES = {b"iloc", b"iinf", b"iref", b"ipma", b"pitm"}
UNKNOWN = b"skip"

Place = tuple[int, int]


@dataclass
class Counted:
    """The boxes of one file that were opened."""

    boxes: int = 0


def boxes(data: File, start: int, end: int, counted: Counted) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, and start and end of the content, of the boxes between two places."""
    while start + 8 <= end:
        counted.boxes += 1
        if counted.boxes > MAX_BOXES:
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


def tables(data: File, start: int, end: int, counted: Counted) -> Iterator[tuple[bytes, int, int]]:
    """Yield the same of boxes among which are tables. Raises BadRequest if one has more bytes than any real one."""
    for kind, at, until in boxes(data, start, end, counted):
        if kind in TABLES and until - at > MAX_TABLE_BYTES:
            raise too_many("bytes in a table", MAX_TABLE_BYTES)
        yield kind, at, until


def items(data: File, start: int, end: int, counted: Counted) -> Iterator[tuple[int, bytes, int]]:
    """Yield id and type of the items that an iinf lists, and where the type is."""
    for kind, at, _ in boxes(data, start + (6 if data[start] == 0 else 8), end, counted):
        if kind == b"infe" and data[at] in (2, 3):
            item, name = (at + 4, at + 8) if data[at] == 2 else (at + 4, at + 10)
            yield int.from_bytes(data[item : name - 2], "big"), bytes(data[name : name + 4]), name


def locations(data: File, places: dict[bytes, Place]) -> Iterator[tuple[int, Place]]:
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


def hidden(data: File, places: list[int]) -> File:
    """Give items or boxes a type that nobody reads; nothing moves. `places` are those of the types, of 4 bytes each."""
    if not places:
        return data
    changed = bytearray(data)
    for place in places:
        changed[place : place + 4] = UNKNOWN
    return changed
