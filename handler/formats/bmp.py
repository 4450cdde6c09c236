"""The structure of a BMP: its header."""

from __future__ import annotations

import struct

from handler.formats.picture import File, Picture, too_many

# Pillow reads run lengths in Python. Nobody stores a photo in them: 8 bits a pixel and no smaller than without.
RUN_LENGTHS = {1, 2}
MAX_RUN_LENGTH_PIXELS = 8_000_000
MAX_RUN_LENGTH_BYTES = 2_000_000

FILE_HEADER = 14
OLD_HEADER = 12


def read(data: File) -> Picture:
    """Check a BMP. Raises BadRequest if its run lengths are too many, and struct.error if its header is short."""
    (header,) = struct.unpack_from("<I", data, FILE_HEADER)
    if header == OLD_HEADER:
        width, height = struct.unpack_from("<HH", data, FILE_HEADER + 4)
        compression = 0
    else:
        width, height, _, _, compression = struct.unpack_from("<iiHHI", data, FILE_HEADER + 4)
        width, height = abs(width), abs(height)  # rows from the top have a negative height
    if compression in RUN_LENGTHS:
        if width * height > MAX_RUN_LENGTH_PIXELS:
            raise too_many("pixels in run lengths", MAX_RUN_LENGTH_PIXELS)
        if len(data) > MAX_RUN_LENGTH_BYTES:
            raise too_many("bytes of run lengths", MAX_RUN_LENGTH_BYTES)
    return Picture("BMP", data, width, height, width * height * 8)
