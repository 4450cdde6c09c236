"""Undo what clients wrap a photo in: base64 as text, a data URL, a line break before it, a compressed body."""

from __future__ import annotations

import base64
import binascii
import re
import zlib

from handler.errors import BadRequest, PayloadTooLarge, RequestError, UnsupportedMediaType
from handler.signatures import LONGEST, format_of

File = bytes | bytearray

DATA_URL = re.compile(rb"\s*data:[^,\s]{0,200},", re.IGNORECASE)
GZIP = b"\x1f\x8b\x08"
GZIP_FILE = (
    "The photo is compressed with gzip: send the photo itself, or a body whose header is Content-Encoding: gzip."
)
QUOTES_AND_SPACE = b"\"' \t\r\n"
URL_SAFE = bytes.maketrans(b"-_", b"+/")
INFLATED = ("gzip", "x-gzip", "deflate")
# Codings that nothing here undoes. Some clients put a charset or a media type into the header, which says nothing.
REFUSED = ("br", "zstd", "compress", "x-compress")


def holds_image(data: File) -> bool:
    """Say whether bytes begin as an image of an accepted format does, or are its base64 as text."""
    head = _head(data)
    return format_of(head) is not None or _is_base64(head)


def unwrap(data: File) -> File:
    """Return the photo itself if `data` is its base64 as text or has a line break before it.

    Anything else is returned as it is, for a decoder to judge. Raises BadRequest for base64 that is damaged, and
    UnsupportedMediaType for a file that is compressed with gzip.
    """
    if format_of(data) is not None:
        return data
    head = _head(data)
    if head.startswith(GZIP):
        raise UnsupportedMediaType(GZIP_FILE)
    if _is_base64(head):
        decoded = from_base64(data.strip(QUOTES_AND_SPACE), "text")
        if isinstance(decoded, RequestError):
            raise decoded
        return decoded
    return data.lstrip(b"\r\n") if format_of(head) else data


def _head(data: File) -> bytes:
    """Return as many bytes as tell a format, or a data URL before its base64."""
    return bytes(data[: 2 * LONGEST + 200]).lstrip(QUOTES_AND_SPACE)


def from_base64(encoded: str | File, name: str) -> bytes | RequestError:
    """Decode one image from base64; `name` says in a message which one it was.

    Many encoders wrap lines, some leave the padding out, browsers write data URLs, and the URL-safe alphabet of
    RFC 4648 has - and _ for + and /.
    """
    try:
        text = encoded.encode("ascii") if isinstance(encoded, str) else encoded
        start = found.end() if (found := DATA_URL.match(text)) else 0
        digits = text[start:].translate(URL_SAFE, b" \t\r\n\f\v").rstrip(b"=")
        return base64.b64decode(digits + b"=" * (-len(digits) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        return BadRequest(f"The {name} is not valid base64 ({error}): encode the photo's bytes again.")


def _is_base64(head: bytes) -> bool:
    """Say whether a text begins as a data URL or as the base64 of an accepted format does."""
    if DATA_URL.match(head):
        return True
    digits = b"".join(head.split()).translate(URL_SAFE)[: LONGEST // 3 * 4]
    try:
        return format_of(base64.b64decode(digits[: len(digits) // 4 * 4], validate=True)) is not None
    except binascii.Error:
        return False


class Inflater:
    """Undoes the Content-Encoding of one body as it arrives, to at most `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._zlib = zlib.decompressobj(zlib.MAX_WBITS | 32)  # reads the header of either
        self._left = limit
        self._limit = limit

    def write(self, piece: File) -> bytes:
        """Return what a piece of the body inflates to. Raises BadRequest or PayloadTooLarge."""
        try:
            inflated = self._zlib.decompress(piece, self._left + 1)
        except zlib.error as error:
            raise BadRequest(f"The compressed body is damaged ({error}): send it again.") from error
        self._left -= len(inflated)
        if self._left < 0:
            raise PayloadTooLarge(f"The body has more than {self._limit:,} bytes uncompressed: send smaller photos.")
        return inflated

    def finish(self) -> None:
        """Raises BadRequest if the body ended too early."""
        if not self._zlib.eof:
            raise BadRequest("The compressed body ends in the middle: send it again, whole.")


def inflater_for(content_encoding: str, limit: int) -> Inflater | None:
    """Return what undoes the coding that a header names; None if it names none. Raises UnsupportedMediaType."""
    named = [coding.strip().lower() for coding in content_encoding.split(",")]
    codings = [coding for coding in named if coding in (*INFLATED, *REFUSED)]
    if len(codings) > 1 or set(codings) & set(REFUSED):
        raise UnsupportedMediaType(
            f"The body's Content-Encoding is {', '.join(codings)[:40]}: send it as it is, or compressed with gzip."
        )
    return Inflater(limit) if codings else None
