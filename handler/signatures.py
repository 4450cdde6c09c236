"""The first bytes of each accepted format, which tell a damaged photo from a file that never was one."""

from __future__ import annotations

import re
from typing import Literal

Format = Literal["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "HEIF", "AVIF"]

SIGNATURES: dict[Format, str] = {
    "JPEG": r"\xff\xd8",
    "PNG": r"\x89PNG",
    "GIF": r"GIF8[79]a",
    "BMP": r"BM(?:.{4}\0\0\0\0|.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0)",
    "TIFF": r"II[*+]\0|MM\0[*+]",
    "WEBP": r"RIFF.{4}WEBP",
    "HEIF": r".{4}ftyp(?:he[iv][cmsx]|mif1.{4}(?:.{4}){0,8}he[iv][cx])",
    "AVIF": r".{4}ftyp(?:avi[fs]|mif1|msf1)",
}
PATTERNS = {name: re.compile(signature.encode(), re.DOTALL) for name, signature in SIGNATURES.items()}
LONGEST = 60  # bytes that a signature may look at


def format_of(data: bytes | bytearray) -> Format | None:
    """Name the format that a file's first bytes are of; None if it is none of the accepted ones."""
    return next((name for name, pattern in PATTERNS.items() if pattern.match(data)), None)
