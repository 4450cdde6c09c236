"""JPEGs without their last marker: decode one if no pixel is missing.

Some cameras and programs leave the end of image (FF D9) out, write half of it, or fill the file up with zeros. Pillow
refuses the first two as it does a file that is cut in the middle, and its lenient mode takes both and leaves gray what
is missing. So such a file is decoded twice, each time with another tail: pixels that differ were not in the file.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections import defaultdict
from collections.abc import Callable, Iterator

from PIL import Image

from handler.errors import BadRequest

END = b"\xff\xd9"
# Data of a scan that begins with other bits than the zeros that libjpeg decodes where there is none, once more behind
# each restart marker. It is never read where the scan is whole.
OTHER_BITS = bytes(range(0xAA, 0xEA))
OTHER_TAIL = OTHER_BITS + b"".join(bytes((0xFF, restart)) + OTHER_BITS for restart in range(0xD0, 0xD8)) + END
ROWS = 256  # that are compared at a time

# Not the bytes that a scan's data has behind FF.
MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd8])", re.DOTALL)
LENGTH = struct.Struct(">H")
START_OF_SCAN = 0xDA
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
COEFFICIENTS = 64


def has_end(data: bytes | bytearray) -> bool:
    """Say whether a JPEG has its last marker; phones and editors write more of their own behind it."""
    if data.endswith(END):
        return True
    try:
        return any(marker == END[1] for marker, _ in _segments(data))
    except struct.error:  # the file ends within a segment
        return False


def decode(data: bytes | bytearray, load: Callable[[bytes], Image.Image]) -> Image.Image:
    """Decode a JPEG that has no end; `load` decodes one that has. Raises BadRequest if pixels are missing."""
    whole = bytes(data).rstrip(b"\0")
    whole += b"\0" * whole.endswith(b"\xff")  # half a marker, or a byte of the scan, which needs its zero
    one = _digest(load(whole + END))
    other = load(whole + OTHER_TAIL)
    if _digest(other) != one or not _has_all_scans(whole):
        raise BadRequest("The image is damaged or cut short (its last pixels are missing): send the whole file.")
    return other


def _digest(image: Image.Image) -> bytes:
    """Hash the pixels, a band of rows at a time, so that they are in memory once."""
    found = hashlib.blake2b()
    for top in range(0, image.height, ROWS):
        found.update(image.crop((0, top, image.width, min(top + ROWS, image.height))).tobytes())
    return found.digest()


def _has_all_scans(data: bytes) -> bool:
    """Say whether each color has all its coefficients to their last bit: the last scans may be missing as a whole."""
    colors = 0
    bits: dict[int, dict[int, int]] = defaultdict(dict)  # by color and coefficient: those that are still to come
    for marker, start in _segments(data):
        if marker in FRAMES:
            colors = data[start + 7]
        elif marker == START_OF_SCAN:
            count = data[start + 2]
            first, last, approximation = data[start + 3 + 2 * count : start + 6 + 2 * count]
            for color in data[start + 3 : start + 3 + 2 * count : 2]:
                bits[color] |= dict.fromkeys(range(first, last + 1), approximation & 15)
    whole = [color for color in bits.values() if len(color) == COEFFICIENTS and not any(color.values())]
    return len(whole) == colors


def _segments(data: bytes | bytearray) -> Iterator[tuple[int, int]]:
    """Yield each segment's marker, and where its length is."""
    position = 2
    while found := MARKER.search(data, position):
        yield found[1][0], found.end()
        position = found.end() + LENGTH.unpack_from(data, found.end())[0]
