"""What a piece of AV1 (AV1 Bitstream Specification, section 5) will cost to decode."""

from __future__ import annotations

from handler.formats.bits import Bits
from handler.formats.picture import cut_short, too_many

# A still picture has two or three: its sequence header, its frame, and before them a delimiter of its own. All the
# pictures of a file together: 200 tiles have 600.
MAX_UNITS = 20_000

SEQUENCE_HEADER, FRAME_HEADER, FRAME = 1, 3, 6


def coded_pixels(data: bytes) -> tuple[int, int]:
    """Count the pixels of all frames of one picture, shown or not, as their sequence says, and its units."""
    total = sides = units = start = 0
    end = len(data)
    while start < end:
        units += 1
        if units > MAX_UNITS:
            raise too_many("units of AV1", MAX_UNITS)
        header = data[start]
        start += 1 + (header >> 2 & 1)  # with an extension of a byte
        size = end - start
        if header & 2:
            size, start = _leb128(data, start)
        if start + size > end:
            raise cut_short("a unit of AV1 that ends past its picture")
        kind = header >> 3 & 15
        if kind == SEQUENCE_HEADER:
            sides = _sequence_pixels(data[start : min(start + size, start + 512)])
        elif kind in (FRAME_HEADER, FRAME):
            total += sides
        start += size
    return total, units


def _leb128(data: bytes, start: int) -> tuple[int, int]:
    value = 0
    for i in range(8):
        value |= (data[start + i] & 0x7F) << 7 * i
        if not data[start + i] & 0x80:
            return value, start + i + 1
    raise cut_short("a size of more than 56 bits")


def _sequence_pixels(header: bytes) -> int:
    """Read width times height from a sequence header (5.5.1), past everything that may stand before them."""
    bits = Bits(header, "an AV1 sequence header")
    bits.take(4)  # profile, still picture
    if bits.take(1):  # reduced
        bits.take(5)
    else:
        delay_length = 0
        if bits.take(1):  # timing
            bits.take(64)
            if bits.take(1):
                _skip_uvlc(bits)
            if bits.take(1):  # decoder model
                delay_length = bits.take(5) + 1
                bits.take(42)
        display_delay = bits.take(1)
        for _ in range(bits.take(5) + 1):  # operating points
            bits.take(12)
            if bits.take(5) > 7:
                bits.take(1)
            if delay_length and bits.take(1):
                bits.take(2 * delay_length + 1)
            if display_delay and bits.take(1):
                bits.take(4)
    across, down = bits.take(4) + 1, bits.take(4) + 1
    return (bits.take(across) + 1) * (bits.take(down) + 1)


def _skip_uvlc(bits: Bits) -> None:
    zeros = 0
    while not bits.take(1):
        zeros += 1
    if zeros < 32:
        bits.take(zeros)
