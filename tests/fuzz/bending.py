"""Bend image files along their structure: parts are lost, doubled, moved, swapped and filled with other values.

Lengths and checksums are written anew, so that what a decoder meets is a file that is wrong inside, and not one that
it refuses at its first look.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import partial
from random import Random

from tests.handler.hostile import box, riff_chunk
from tests.pictures import png_chunk

# A part: its name, and its content. The first one is what precedes all others.
Part = tuple[bytes, bytes]

NUMBERS = (0, 1, 2, 7, 8, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
CONTAINERS = {b"meta", b"iprp", b"ipco", b"moov", b"trak", b"mdia", b"minf", b"stbl", b"iref"}


def bend(data: bytes, other: bytes, random: Random) -> bytes:
    """Change a file in one to four ways; `other` lends parts."""
    for _ in range(random.randint(1, 4)):
        ways: list[Callable[[bytes, bytes, Random], bytes]] = [_change_numbers, _change_bytes]
        if (form := _form_of(data)) is not None:
            ways += [partial(_change_parts, form=form)] * 4
        data = random.choice(ways)(data, other, random)
    return data


def _change_parts(data: bytes, other: bytes, random: Random, form: Form) -> bytes:
    split, join = form
    parts = list(split(data))
    i, j = (random.randrange(len(parts)) for _ in range(2))
    name, content = parts[i]
    match random.randrange(6):
        case 0:
            del parts[i]
        case 1:
            parts[j:j] = [parts[i]] * random.choice((1, 2, 100))
        case 2:
            parts[i], parts[j] = parts[j], parts[i]
        case 3:
            parts[i] = (parts[j][0], content)
        case 4 if _form_of(other) is form:
            parts.insert(i, random.choice(list(split(other))))
        case _:
            head = content[:4] if name in (b"meta", b"iref") else b""  # a version, before the boxes inside
            nested = form is BOXES and name in CONTAINERS and len(content) > 16
            inner = partial(_change_parts, form=form) if nested else _change_numbers
            parts[i] = (name, head + inner(content[len(head) :], other, random))
    return join(parts)


def _change_numbers(data: bytes, other: bytes, random: Random) -> bytes:
    """Put a number that claims much, or nothing, where one may be."""
    if not data:
        return data
    form = random.choice(("B", "<H", ">H", "<I", ">I"))
    size = struct.calcsize(form)
    number = random.choice(NUMBERS) & (256**size - 1)
    place = random.randrange(max(1, min(len(data), random.choice((32, 200, len(data))))))
    return data[:place] + struct.pack(form, number) + data[place + size :]


def _change_bytes(data: bytes, other: bytes, random: Random) -> bytes:
    """Cut a file short, flip a bit, or put a piece of another one in."""
    if not data:
        return data
    place = random.randrange(len(data))
    match random.randrange(3):
        case 0:
            return data[:place]
        case 1:
            return data[:place] + bytes([data[place] ^ 1 << random.randrange(8)]) + data[place + 1 :]
    start = random.randrange(max(1, len(other)))
    piece = other[start : start + random.randrange(1, 200)]
    return data[:place] + piece + data[place + len(piece) :]


def _segments(data: bytes) -> Iterator[Part]:
    """Of a JPEG: its markers, the last of which has all that follows it."""
    yield b"", data[:2]
    place = 2
    while data[place : place + 1] == b"\xff" and data[place + 1 : place + 2] not in (b"\xda", b"\xd9", b""):
        [length] = struct.unpack_from(">H", data.ljust(place + 4, b"\0"), place + 2)
        yield data[place : place + 2], data[place + 4 : place + 2 + length]
        place += 2 + max(2, length)
    yield b"rest", data[place:]


def _segment(name: bytes, content: bytes) -> bytes:
    return name + struct.pack(">H", len(content) + 2 & 0xFFFF) + content if len(name) == 2 else content


def _lengths(form: str, before: int, name_first: bool, tail: int, pad: int = 1) -> Callable[[bytes], Iterator[Part]]:
    """Split a file whose parts each have a length: `before` bytes precede the first, `tail` follow each."""

    def split(data: bytes) -> Iterator[Part]:
        yield b"", data[:before]
        place = before
        while place + 8 <= len(data):
            name, field = (place, place + 4) if name_first else (place + 4, place)
            [length] = struct.unpack_from(form, data, field)
            length = max(0, length - 8) if before == 0 else length
            yield data[name : name + 4], data[place + 8 : place + 8 + length]
            place += 8 + length + tail + length % pad
        if place < len(data):
            yield b"", data[place:]

    return split


def _joined(write: Callable[[bytes, bytes], bytes]) -> Callable[[list[Part]], bytes]:
    return lambda parts: b"".join(write(name, content) if name else content for name, content in parts)


def _join_riff(parts: list[Part]) -> bytes:
    body = _joined(riff_chunk)(parts)
    return body[:4] + struct.pack("<I", max(0, len(body) - 8)) + body[8:]


Form = tuple[Callable[[bytes], Iterator[Part]], Callable[[list[Part]], bytes]]
SEGMENTS: Form = (_segments, _joined(_segment))
CHUNKS: Form = (_lengths(">I", 8, False, 4), _joined(png_chunk))
RIFF: Form = (_lengths("<I", 12, True, 0, 2), _join_riff)
BOXES: Form = (_lengths(">I", 0, False, 0), _joined(box))


def _form_of(data: bytes) -> Form | None:
    """Say of which parts a file is; those of GIF, BMP and TIFF are numbers and places, which are bent as such."""
    if data.startswith(b"\xff\xd8"):
        return SEGMENTS
    if data.startswith(b"\x89PNG"):
        return CHUNKS
    if data.startswith(b"RIFF"):
        return RIFF
    return BOXES if data[4:8] == b"ftyp" else None
