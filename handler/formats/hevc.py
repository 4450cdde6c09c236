"""What a piece of HEVC (ITU-T H.265) will cost to decode."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from handler.formats.bits import Bits
from handler.formats.boxes import Place
from handler.formats.picture import File, cut_short, too_many

# A photo has a unit for each slice; a tile of 512 x 512 has one. All the pictures of a file together.
MAX_UNITS = 20_000
MAX_PARAMETER_SETS = 64  # in a configuration; encoders write three or four
SEQUENCE_HEADER, LAST_SLICE = 33, 31  # types of units: table 7-1
CHROMA_420, CHROMA_444 = 1, 3
PROFILE_BITS, LEVEL_BITS = 88, 8
HEADER = "an HEVC sequence header"


@dataclass(frozen=True)
class Sequence:
    """The size of every frame of a sequence, whether its color is whole (4:2:2, 4:4:4), and has over 8 bits."""

    pixels: int
    dense: bool
    deep: bool


@dataclass(frozen=True)
class Configuration:
    """What hvcC says (ISO/IEC 14496-15): the bytes that hold a unit's length, and the sequences."""

    length_size: int
    sequences: tuple[Sequence, ...]


def configuration(data: File, start: int, end: int) -> Configuration:
    """Read a box of the kind hvcC, whose content lies between two places."""
    length_size, arrays = (data[start + 21] & 3) + 1, data[start + 22]
    at, sequences, left = start + 23, [], MAX_PARAMETER_SETS
    for _ in range(arrays):
        number = int.from_bytes(data[at + 1 : at + 3], "big")
        at, left = at + 3, left - number
        if left < 0:
            raise too_many("parameter sets of HEVC", MAX_PARAMETER_SETS)
        for _ in range(number):
            size = int.from_bytes(data[at : at + 2], "big")
            at += 2 + size
            if at > end:
                raise cut_short("an HEVC configuration that ends early")
            if _type(data[at - size]) == SEQUENCE_HEADER:
                sequences.append(_sequence(data[at - size : at]))
    return Configuration(length_size, tuple(sequences))


def coded_pixels(data: File, pieces: list[Place], known: Configuration) -> tuple[int, int]:
    """Count the pixels of all frames of one picture, shown or not, and its units.

    A frame is as large as the largest sequence, in the configuration or between the frames.
    """
    picture = b"".join(data[start:end] for start, end in pieces)
    sides = max((sequence.pixels for sequence in known.sequences), default=0)
    frames = units = 0
    for unit in _units(picture, known.length_size):
        units += 1
        if units > MAX_UNITS:
            raise too_many("units of HEVC", MAX_UNITS)
        kind = _type(unit[0])
        if kind == SEQUENCE_HEADER:
            sides = max(sides, _sequence(unit).pixels)
        elif kind <= LAST_SLICE and (unit[2] & 0x80 or not frames):  # the first slice of its frame
            frames += 1
    return frames * sides, units


def _units(picture: bytes, length_size: int) -> Iterator[bytes]:
    """Yield the first bytes of each unit: as many as its header may need."""
    at = 0
    while at < len(picture):
        start = at + length_size
        at = start + int.from_bytes(picture[at:start], "big")
        if at > len(picture):
            raise cut_short("a unit of HEVC that ends past its picture")
        if at > start:
            yield picture[start : min(at, start + 512)]


def _type(first: int) -> int:
    return first >> 1 & 63


def _sequence(unit: File) -> Sequence:
    """Read a sequence parameter set (7.3.2.2), of which zeros are followed by a 3 that stands for nothing (7.4.2)."""
    bits = Bits(bytes(unit[2:512]).replace(b"\0\0\3", b"\0\0"), HEADER)
    bits.take(4)
    layers = bits.take(3)
    bits.take(1 + PROFILE_BITS + LEVEL_BITS)
    present = [(bits.take(1), bits.take(1)) for _ in range(layers)]
    bits.take(2 * (8 - layers) if layers else 0)
    for has_profile, has_level in present:
        bits.take(PROFILE_BITS * has_profile + LEVEL_BITS * has_level)
    bits.exp_golomb()  # its number
    chroma = bits.exp_golomb()
    if chroma == CHROMA_444:
        bits.take(1)
    pixels = bits.exp_golomb() * bits.exp_golomb()
    if bits.take(1):  # a part of it is shown
        for _ in range(4):
            bits.exp_golomb()
    deep = bool(bits.exp_golomb() + bits.exp_golomb())
    return Sequence(pixels, chroma > CHROMA_420, deep)
