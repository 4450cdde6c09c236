"""Undo what clients wrap a photo in: JSON, base64 as text, a data URL, a line break before it, a compressed body."""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from typing import Any, Literal

from handler.errors import BadRequest, PayloadTooLarge, RequestError, UnsupportedMediaType

File = bytes | bytearray

# The first bytes of each accepted format, which tell a damaged photo from a file that never was one.
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

# What a document is made of, by the marks that each of it has in the text, and how many marks there may be: bytes of
# text become twenty times as many in memory. A tensor of 32 images of 224 x 224 pixels, nested to its last list of
# three, has 1,612,832 lists and 4,816,895 commas; one of files has a quotation mark more than two for each image.
MAX_MARKS = {"lists and objects": ("[{", 2_000_000), "commas": (",", 5_000_000), "quotation marks": ('"', 20_000)}

JSON_FORM = '{"instances": [{"b64": "<base64 of the photo>"}], "parameters": {"top_k": 5}}'

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


def format_of(data: bytes | bytearray) -> Format | None:
    """Name the format that a file's first bytes are of; None if it is none of the accepted ones."""
    return next((name for name, pattern in PATTERNS.items() if pattern.match(data)), None)


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


def begins_json(body: bytes | bytearray) -> bool:
    """Say whether a body begins as a JSON object does, which no image does: many clients call JSON text/plain."""
    return bytes(body[:100]).lstrip().startswith(b"{")


def read_instances(value: Any) -> tuple[list[Any], dict[str, Any]]:
    """Return the instances and the parameters of a JSON document, a text or what was made of it.

    Raises BadRequest if it has another form, and PayloadTooLarge as `read_json` does.
    """
    if isinstance(value, bytes | bytearray | str):
        value = read_json(value, JSON_FORM)
    if not isinstance(value, dict) or not isinstance(value.get("instances"), list):
        raise BadRequest(f"The JSON has no list named instances: send {JSON_FORM}.")
    parameters = value.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise BadRequest(f"The JSON's parameters are not an object: send {JSON_FORM}.")
    return value["instances"], parameters


def read_json(text: bytes | bytearray | str, form: str) -> Any:
    """Read a JSON document; `form` says in a message what it should be.

    Raises BadRequest if it is none, and PayloadTooLarge, before anything is built, if it is past MAX_MARKS.
    """
    for name, (marks, limit) in MAX_MARKS.items():
        found = sum(text.count(mark) if isinstance(text, str) else text.count(mark.encode()) for mark in marks)
        if found > limit:
            raise PayloadTooLarge(f"The JSON has {found:,} {name} and the limit is {limit:,}: send {form}.")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"The body is not valid JSON ({error}): send {form}.") from error


def file_in(instance: Any, index: int) -> bytes | RequestError:
    """Return the file of one instance, or the error that says why it has none."""
    encoded = instance.get("b64") if isinstance(instance, dict) else None
    if isinstance(encoded, str):
        return from_base64(encoded, f"b64 of instance {index}")
    return BadRequest(f'Instance {index} has no text named b64: send {{"b64": "<base64 of the photo>"}}.')
