"""What the check of a file's structure returns, and the errors with which it refuses a file.

Pillow reads a file's metadata in Python and its decoders trust what a header claims: a kilobyte can cost gigabytes or
minutes. So each format has a module that walks the file first, in time that grows with its length and no faster, keeps
what the pixels need and nothing else, and counts what decoding will cost. The limits are far beyond what any camera
or program writes; docs/security.md has the largest numbers that were seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from handler.errors import BadRequest

# The sides that JPEG and GIF can store; rows cost memory of their own, and a picture of one column has millions.
MAX_SIDE = 65_535

File = bytes | bytearray


@dataclass(frozen=True)
class Picture:
    """A file ready to be decoded: `data` without its metadata, and what was read of it.

    `memory` is the number of bytes that decoding takes at its peak, beside the file: the decoder's own buffers and
    Pillow's picture, or later that picture and its copy as upright RGB. `orientation` is EXIF's, 1 for upright.
    `unpacked` is the number of bytes that a PNG stores, unpacked; 0 for other formats.
    """

    format: str
    data: File
    width: int
    height: int
    memory: int
    orientation: int = 1
    unpacked: int = 0

    @property
    def pixels(self) -> int:
        return self.width * self.height


def too_many(what: str, limit: int) -> BadRequest:
    """The refusal of a file with more parts of a kind than any real one has."""
    return BadRequest(
        f"The image has more than {limit:,} {what}, which no camera or program writes: send it saved again."
    )


def cut_short(what: str) -> BadRequest:
    """The refusal of a file whose parts contradict each other or its end. `what` may be a library's own words."""
    return BadRequest(f"The image is damaged or cut short ({' '.join(what.split())}): send the whole file.")


def join(data: File, pieces: list[tuple[int, int]]) -> File:
    """Put the pieces of a file (start, end) together; without a copy if nothing lies between them."""
    if all(one[1] == other[0] for one, other in pairwise(pieces)) and pieces[0][0] == 0:
        return data
    view = memoryview(data)
    return b"".join(view[start:end] for start, end in pieces)
