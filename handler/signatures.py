"""The first bytes of each accepted format, which tell a damaged photo from a file that never was one."""

from __future__ import annotations

import re
from typing import Literal

Format = Literal["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "HEIF", "AVIF"]

SIGNATURES: dict[Format, re.Pattern[bytes]] = {
    name: re.compile(signature, re.DOTALL)
    for name, signature in (
        ("JPEG", rb"\xff\xd8"),
        ("PNG", rb"\x89PNG"),
        ("GIF", rb"GIF8[79]a"),
        ("BMP", rb"BM(?:.{4}\0\0\0\0|.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0)"),
        ("TIFF", rb"II[*+]\0|MM\0[*+]"),
        ("WEBP", rb"RIFF.{4}WEBP"),
        ("HEIF", rb".{4}ftyp(?:he[iv][cmsx]|mif1.{4}(?:.{4}){0,8}he[iv][cx])"),
        ("AVIF", rb".{4}ftyp(?:avi[fs]|mif1|msf1)"),
    )
}
LONGEST = 60  # bytes that a signature may look at


def format_of(data: bytes | bytearray) -> Format | None:
    """Name the format that a file's first bytes are of; None if it is none of the accepted ones."""
    return next((name for name, signature in SIGNATURES.items() if signature.match(data)), None)
