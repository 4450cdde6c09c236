"""The structure of a WebP: RIFF chunks (RFC 9649)."""

from __future__ import annotations

import struct

from handler.formats.orientation import orientation
from handler.formats.picture import File, Picture, cut_short, too_many

# A photo has up to 6. Frames after the first are not walked.
MAX_CHUNKS = 1_000

RIFF_HEADER = 12
CHUNK = struct.Struct("<4sI")
ANIMATION, ALPHA = 0x02, 0x10  # flags of VP8X
# libwebp's two canvases, the bytes that Pillow takes from it, and Pillow's picture, 4 each; 17 were measured.
BYTES_A_PIXEL = 17


def read(data: File) -> Picture:
    """Check a WebP and keep its first picture. Raises BadRequest past a limit or if it has no picture."""
    extended: tuple[int, int] | None = None
    kept: list[tuple[int, int]] = []
    exif: bytes | None = None
    xmp: bytes | None = None
    frame: tuple[int, int] | None = None
    position, chunks = RIFF_HEADER, 0
    while position + 8 <= len(data):
        kind, length = CHUNK.unpack_from(data, position)
        content, end = position + 8, position + 8 + length
        chunks += 1
        if chunks > MAX_CHUNKS:
            raise too_many("chunks", MAX_CHUNKS)
        if kind == b"EXIF":
            exif = bytes(data[content:end])
        elif kind == b"XMP ":
            xmp = bytes(data[content:end])
        elif kind == b"VP8X":
            extended = (position, end)
        elif frame is None and kind in (b"ANIM", b"ALPH", b"VP8 ", b"VP8L", b"ANMF"):
            if end > len(data):
                raise cut_short("a chunk that ends past the file")
            kept.append((position, end + length % 2))
            if kind not in (b"ANIM", b"ALPH"):
                frame = (content, end)
        position = end + length % 2
    if frame is None:
        raise cut_short("a WebP without a picture")
    width, height = _size(data, extended, kept[-1][0], frame[0])
    return Picture(
        "WEBP",
        _rebuilt(data, extended, kept),
        width,
        height,
        width * height * BYTES_A_PIXEL,
        orientation(exif, xmp),
    )


def _size(data: File, extended: tuple[int, int] | None, picture: int, frame: int) -> tuple[int, int]:
    if extended:
        fields = data[extended[0] + 12 : extended[0] + 18]
        return int.from_bytes(fields[:3], "little") + 1, int.from_bytes(fields[3:], "little") + 1
    if data.startswith(b"VP8L", picture):
        packed = int.from_bytes(data[frame + 1 : frame + 5], "little")
        return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, frame + 6)
    return width & 0x3FFF, height & 0x3FFF


def _rebuilt(data: File, extended: tuple[int, int] | None, kept: list[tuple[int, int]]) -> bytes:
    header = b""
    if extended:
        flags = data[extended[0] + 8] & (ANIMATION | ALPHA)
        header = b"VP8X" + struct.pack("<IB", 10, flags) + data[extended[0] + 9 : extended[0] + 18]
    view = memoryview(data)
    body = b"".join([b"WEBP", header, *(view[start:end] for start, end in kept)])
    return b"RIFF" + struct.pack("<I", len(body)) + body
