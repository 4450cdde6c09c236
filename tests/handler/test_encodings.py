"""What clients wrap a photo in."""

from __future__ import annotations

import base64
import gzip
import zlib

import pytest

from handler.encodings import INFLATED, REFUSED, Inflater, from_base64, holds_image, inflater_for, unwrap
from handler.errors import BadRequest, PayloadTooLarge, UnsupportedMediaType
from tests.pictures import encode, noise

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF")
JPEG = encode(noise(), "JPEG")
TEXT = base64.b64encode(JPEG)
URL_SAFE = base64.urlsafe_b64encode(JPEG)
WRAPPED = {
    "base64": TEXT,
    "URL-safe": URL_SAFE,
    "without padding": TEXT.rstrip(b"="),
    "URL-safe without padding": URL_SAFE.rstrip(b"="),
    "lines": base64.encodebytes(JPEG),
    "lines of Windows": base64.encodebytes(JPEG).replace(b"\n", b"\r\n"),
    "data URL": b"data:image/jpeg;base64," + TEXT,
    "data URL without a type": b"DATA:;base64," + URL_SAFE,
    "quotes": b'"' + TEXT + b'"\n',
    "a line break before the photo": b"\r\n" + JPEG,
}


@pytest.mark.parametrize("wrapped", WRAPPED.values(), ids=WRAPPED)
@pytest.mark.parametrize("make", [bytes, bytearray])
def test_the_photo_itself_is_found(wrapped: bytes, make: type[bytes]) -> None:
    assert unwrap(make(wrapped)) == JPEG
    assert holds_image(make(wrapped))


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_known_as_base64_and_as_it_is(name: str) -> None:
    image = encode(noise(), name)
    assert unwrap(image) is image
    assert unwrap(base64.b64encode(image)) == image


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"data: one, two", b"Upload", b"dGhpcyBpcyBhIHRva2Vu" * 4, b"\0" * 200, b"{}", b'"']
)
def test_what_is_no_photo_is_left_as_it_is(data: bytes) -> None:
    assert unwrap(data) == data
    assert not holds_image(data)


@pytest.mark.parametrize("data", [TEXT[:400] + b"!!" + TEXT[400:], b"data:image/png;base64,????", TEXT[:401]])
def test_damaged_base64_is_refused(data: bytes) -> None:
    with pytest.raises(BadRequest, match="not valid base64"):
        unwrap(data)


@pytest.mark.parametrize("text", ["ü", "\ud800", "!", "A", b"\xff\xfe"])
def test_what_is_not_base64(text: str | bytes) -> None:
    assert isinstance(from_base64(text, "b64"), BadRequest)


@pytest.mark.parametrize("coding", [*INFLATED, "GZIP", "identity, gzip"])
@pytest.mark.parametrize("size", [1, 100, 10**6])
def test_a_coding_is_undone_in_pieces_of_any_size(coding: str, size: int) -> None:
    body = zlib.compress(JPEG) if coding == "deflate" else gzip.compress(JPEG)
    inflater = inflater_for(coding, len(JPEG))
    assert inflater is not None
    pieces = [inflater.write(body[i : i + size]) for i in range(0, len(body), size)]
    inflater.finish()
    assert b"".join(pieces) == JPEG


@pytest.mark.parametrize("coding", ["", "identity", "utf-8", "image/jpeg", "base64"])
def test_what_is_no_coding_is_ignored(coding: str) -> None:
    assert inflater_for(coding, 1) is None


@pytest.mark.parametrize("coding", [*REFUSED, "gzip, br", "gzip, gzip"])
def test_other_codings_and_compressed_files_are_refused(coding: str) -> None:
    with pytest.raises(UnsupportedMediaType, match=f"Content-Encoding is {coding}"):
        inflater_for(coding, 1)
    with pytest.raises(UnsupportedMediaType, match="gzip"):
        unwrap(gzip.compress(JPEG))


def test_a_compressed_body_is_limited_damaged_and_cut_short() -> None:
    with pytest.raises(PayloadTooLarge, match="1,000 bytes"):
        Inflater(1000).write(gzip.compress(bytes(10**7)))
    with pytest.raises(BadRequest, match="damaged"):
        Inflater(1000).write(JPEG)
    inflater = Inflater(10**6)
    inflater.write(gzip.compress(JPEG)[:-9])
    with pytest.raises(BadRequest, match="ends in the middle"):
        inflater.finish()
