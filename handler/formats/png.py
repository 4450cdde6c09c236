"""The structure of a PNG: chunks (W3C PNG, third edition)."""

from __future__ import annotations

import struct
import zlib

from handler.formats.orientation import orientation
from handler.formats.picture import File, Picture, cut_short, join, too_many

SIGNATURE_LENGTH = 8
# Largest seen in photos: 1,300 chunks; the usual 8 kB of data each are 2,500 in 20 MB.
MAX_CHUNKS = 50_000
# Of a text that says which way is up: EXIF stands in its first bytes.
MAX_TEXT = 65_536

HEADER = struct.Struct(">I4s")
OVERHEAD = 12  # length, kind and checksum
NEEDED = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
GRAY = 0
CHANNELS = {GRAY: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by the header's color type
XMP_KEY = b"XML:com.adobe.xmp\0\0"  # uncompressed, as everybody writes it
# Before PNG had eXIf, ImageMagick put EXIF into a text: three lines, then hexadecimal.
RAW_KEY = b"Raw profile type exif\0"


def read(data: File) -> Picture:
    """Check a PNG and keep its picture alone. Raises BadRequest past a limit or if its header is none."""
    pieces = [(0, SIGNATURE_LENGTH)]
    exif: bytes | None = None
    xmp: bytes | None = None
    raw: tuple[bytes, int, int] | None = None
    position, chunks = SIGNATURE_LENGTH, 0
    while position + 8 <= len(data):
        length, kind = HEADER.unpack_from(data, position)
        end = position + OVERHEAD + length
        chunks += 1
        if chunks > MAX_CHUNKS:
            raise too_many("chunks", MAX_CHUNKS)
        if kind in NEEDED:
            pieces.append((position, min(end, len(data))))
        elif kind == b"eXIf":
            exif = bytes(data[position + 8 : end - 4])
        elif kind == b"iTXt" and data.startswith(XMP_KEY, position + 8):
            xmp = bytes(data[position + 8 : end - 4])
        elif kind in (b"tEXt", b"zTXt") and data.startswith(RAW_KEY, position + 8):
            raw = (kind, position + 8 + len(RAW_KEY), end - 4)
        position = end
        if kind == b"IEND":
            break

    if not data.startswith(b"IHDR", SIGNATURE_LENGTH + 4) or len(data) < 33:
        raise cut_short("a PNG without its header")
    width, height, bits, color = struct.unpack_from(">IIBB", data, SIGNATURE_LENGTH + 8)
    if exif is None and raw:
        exif = _raw_profile(raw[0], bytes(data[raw[1] : raw[2]]))
    unpacked = height * (width * bits * CHANNELS.get(color, 1) // 8 + 1)
    stored = 4 if color != GRAY else 2 if bits == 16 else 1
    memory = width * height * (stored + 4)
    return Picture("PNG", join(data, pieces), width, height, memory, orientation(exif, xmp), unpacked)


def _raw_profile(kind: bytes, text: bytes) -> bytes | None:
    if kind == b"zTXt":
        try:
            text = zlib.decompressobj().decompress(text[1:], MAX_TEXT)
        except zlib.error:
            return None
    lines = text[:MAX_TEXT].split(b"\n", 3)
    digits = b"".join(lines[-1].split())
    try:
        return bytes.fromhex(digits[: len(digits) // 2 * 2].decode())
    except ValueError:
        return None
