"""Directories of tags as TIFF 6.0 and BigTIFF have them; EXIF is a TIFF without a picture."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

MAGIC = {b"II*\0": ("<", False), b"MM\0*": (">", False), b"II+\0": ("<", True), b"MM\0+": (">", True)}
# Types of whole numbers that a tag may have, as struct's letters: BYTE, SHORT, LONG, their signed kin and LONG8.
WHOLE = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q"}
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


@dataclass(frozen=True)
class Layout:
    """Byte order, as struct's sign, and the structs of this kind of file."""

    order: str
    count: struct.Struct
    entry: struct.Struct
    offset: struct.Struct


@dataclass(frozen=True)
class Entry:
    """One tag: `at` is where its entry begins, `values` where its values do, in the entry itself or elsewhere."""

    tag: int
    kind: int
    count: int
    at: int
    values: int

    @property
    def size(self) -> int:
        """Bytes that its values take; 0 for a type there is not."""
        return SIZES.get(self.kind, 0) * self.count


def header(data: bytes | bytearray) -> tuple[Layout, int]:
    """Read byte order and kind, and where the first directory begins. Raises ValueError if it is no TIFF."""
    if bytes(data[:4]) not in MAGIC:
        raise ValueError("it is no TIFF")
    order, big = MAGIC[bytes(data[:4])]
    if big:
        layout = Layout(order, struct.Struct(order + "Q"), struct.Struct(order + "HHQ8s"), struct.Struct(order + "Q"))
    else:
        layout = Layout(order, struct.Struct(order + "H"), struct.Struct(order + "HHI4s"), struct.Struct(order + "I"))
    return layout, layout.offset.unpack_from(data, 8 if big else 4)[0]


def number_of_entries(data: bytes | bytearray, layout: Layout, start: int) -> int:
    number: int = layout.count.unpack_from(data, start)[0]
    return number


def entries(data: bytes | bytearray, layout: Layout, start: int) -> Iterator[Entry]:
    """Yield the tags of the directory at `start`. Raises struct.error if the file ends within it."""
    inline = layout.offset.size
    at = start + layout.count.size
    for _ in range(number_of_entries(data, layout, start)):
        tag, kind, count, value = layout.entry.unpack_from(data, at)
        values = at + layout.entry.size - inline
        if SIZES.get(kind, 0) * count > inline:
            values = layout.offset.unpack(value)[0]
        yield Entry(tag, kind, count, at, values)
        at += layout.entry.size


def integers(data: bytes | bytearray, layout: Layout, entry: Entry) -> tuple[int, ...]:
    """Read the values of a tag that holds whole numbers. Raises ValueError, or struct.error past the file's end."""
    if entry.kind not in WHOLE:
        raise ValueError(f"tag {entry.tag} holds no whole numbers")
    if entry.values + entry.size > len(data):
        raise ValueError(f"the values of tag {entry.tag} lie past the end")
    return struct.unpack_from(f"{layout.order}{entry.count}{WHOLE[entry.kind]}", data, entry.values)
