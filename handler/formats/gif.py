"""The structure of a GIF: blocks and their sub-blocks (GIF89a)."""

from __future__ import annotations

import struct

from handler.formats.picture import File, Picture, cut_short, join, too_many

# A picture's sub-blocks have 255 bytes, which are 80,000 in 20 MB; an extension has a few. All up to the first picture.
MAX_SUB_BLOCKS = 200_000

EXTENSION, PICTURE = 0x21, 0x2C
CONTROL = 0xF9
SCREEN_END = 13


def read(data: File) -> Picture:
    """Check a GIF up to its first picture and keep that alone. Raises BadRequest past a limit or without a picture."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    position = SCREEN_END + _colors(flags)
    pieces = [(0, position)]
    control: tuple[int, int] | None = None
    budget = MAX_SUB_BLOCKS
    while position < len(data):
        if data[position] == EXTENSION:
            end, budget = _after_sub_blocks(data, position + 2, budget)
            if data[position + 1] == CONTROL:
                control = (position, end)
        elif data[position] == PICTURE:
            left, top, across, down, flags = struct.unpack_from("<HHHHB", data, position + 1)
            end, _ = _after_sub_blocks(data, position + 11 + _colors(flags), budget)
            pieces += [control, (position, end)] if control else [(position, end)]
            # The picture may reach over the screen, and Pillow then enlarges it. It keeps a second copy of a byte a
            # pixel for the frame after it.
            width, height = max(width, left + across), max(height, top + down)
            return Picture("GIF", join(data, pieces), width, height, width * height * 8)
        else:  # Pillow looks on behind what it does not know
            end = position + 1
            budget -= 1
            if budget < 0:
                raise too_many("unknown bytes", MAX_SUB_BLOCKS)
        position = end
    raise cut_short("a GIF without a picture")


def _colors(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _after_sub_blocks(data: File, position: int, budget: int) -> tuple[int, int]:
    """Return the end of a row of sub-blocks, and how many more may come."""
    end = len(data)
    while position < end and (length := data[position]):
        position += length + 1
        budget -= 1
        if budget < 0:
            raise too_many("sub-blocks", MAX_SUB_BLOCKS)
    return min(position + 1, end), budget
