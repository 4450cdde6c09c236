"""Finds the photos and the parameters of a request: in a form, in JSON, or a photo that is the body.

A form is read as it arrives, up to the first file or field too many.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from densenet_serving.gateway.settings import GatewaySettings
from handler.encodings import JSON_FORM, begins_json, file_in, holds_image, read_instances
from handler.errors import BadRequest, PayloadTooLarge, RequestError
from handler.parameters import in_headers, parameter_name, read_all

NO_PHOTO = (
    "The request has no file: send the photo as the form field file, as curl -F file=@cat.jpg does, as the body "
    f"(curl -T cat.jpg) or as JSON {JSON_FORM}."
)
NO_BOUNDARY = "The header says multipart/form-data without a boundary: leave it to the client library, which adds one."
OTHER_BOUNDARY = (
    "The form is malformed (the boundary that its Content-Type names does not begin any part): leave that header to "
    "the client library."
)
CUT_SHORT = "The form ends in the middle: send it again, whole."
# Marks of JSON that separate values: base64 has none, so a document of photos has few.
MAX_MARKS = 1000
MAX_FIELDS = 1000
PARAMETER_LENGTH = 100  # of a number, or the id of a class: TorchServe gets it in a header
PREAMBLE_BYTES = 4096
# python-multipart leaves these out, as RFC 7578 asks; Flask reads them.
EXTENDED_NAME = re.compile(rb";\s*filename\*\d*\*?\s*=", re.IGNORECASE)


@dataclass
class Upload:
    """The files in the order sent, each its bytes or why there are none, the parameters, and all other fields.

    A file is a part with a file name, as in Flask's `request.files`; a file input that was left empty is none.
    """

    files: list[bytes | RequestError] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)
    others: list[bytes] = field(default_factory=list)

    @property
    def photos(self) -> list[bytes | RequestError]:
        """The files, or in a form without any the fields that hold an image, as it is or as base64."""
        return self.files or [content for content in self.others if holds_image(content)]

    def add_field(self, name: str, content: bytes) -> None:
        """Raises BadRequest if it is a parameter that the form has twice."""
        parameter = parameter_name(name)
        if parameter is None:
            self.others.append(content)
            return
        if parameter in self.parameters:
            raise BadRequest(f"The form has {parameter} twice: send it once.")
        self.parameters[parameter] = content.decode(errors="replace")


async def read(request: Request, settings: GatewaySettings) -> Upload:
    """Read the body of a request. Raises BadRequest if it has no photo, and PayloadTooLarge if it has too many."""
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    is_form = kind == b"multipart/form-data"
    if is_form and options:
        upload = await read_form(boundary_in(options), request.stream(), settings)
    else:
        upload = await from_body(await request.body(), kind)
    photos = len(upload.photos)
    if not photos:
        raise BadRequest(NO_BOUNDARY if is_form and not options else NO_PHOTO)
    if photos > settings.max_files:
        raise too_many_files(settings)
    return upload


def parameters_of(request: Request, upload: Upload, known: tuple[str, ...]) -> dict[str, Any]:
    """Merge the parameters of a request: those of the body win over the query, and that over headers, as Top-K.

    Raises BadRequest for a value that cannot be, and for a name, but in a header, that is not known.
    """
    sources = (in_headers(request.headers, known), request.query_params, upload.parameters)
    first, second, third = (read_all(given, known) for given in sources)
    chosen = first | second | third
    for name, value in chosen.items():
        if len(str(value)) > PARAMETER_LENGTH:
            raise BadRequest(f"The parameter {name} has more than {PARAMETER_LENGTH} characters.")
    return chosen


def boundary_in(options: dict[bytes, bytes]) -> bytes:
    """Raises BadRequest."""
    boundary = next((value for name, value in options.items() if name.lower() == b"boundary"), b"")
    if not boundary:
        raise BadRequest(NO_BOUNDARY)
    return boundary


async def from_body(body: bytes, kind: bytes) -> Upload:
    """Read a body that is no multipart form: JSON, urlencoded fields, or a photo whatever its type is called."""
    if kind.endswith(b"json") or begins_json(body):
        return await asyncio.to_thread(from_json, body)
    if kind == b"application/x-www-form-urlencoded" and not holds_image(body):  # which curl calls so unasked
        return from_urlencoded(body)
    return Upload([body] if body else [])


def from_json(body: bytes) -> Upload:
    """Raises the handler's RequestError, and PayloadTooLarge."""
    if holds_more_marks(body, MAX_MARKS):
        raise PayloadTooLarge(f"The JSON has more than {MAX_MARKS} values: send {JSON_FORM}.")
    instances, parameters = read_instances(body)
    return Upload([file_in(instance, i) for i, instance in enumerate(instances)], parameters)


def holds_more_marks(body: bytes, most: int) -> bool:
    """Say whether there are more marks than so many; counting all of ten million would stop the other threads."""
    for mark in (b",", b"[", b"{"):
        at = body.find(mark)
        while at >= 0:
            most -= 1
            if most < 0:
                return True
            at = body.find(mark, at + 1)
    return False


def from_urlencoded(body: bytes) -> Upload:
    """Read the fields of a body that curl -d or a plain form sends; a + stays one, since base64 has it."""
    upload = Upload()
    try:
        fields = parse_qsl(body.replace(b"+", b"%2B"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise too_many_fields() from error
    for name, content in fields:
        upload.add_field(name.decode(errors="replace"), content)
    return upload


async def read_form(boundary: bytes, pieces: AsyncIterator[bytes], settings: GatewaySettings) -> Upload:
    """Read a multipart form. Raises BadRequest or PayloadTooLarge, and then reads no further."""
    try:
        with closing(FormReader(boundary, settings)) as reader:
            async for piece in pieces:
                reader.write(piece)
            return reader.upload()
    except FormParserError as error:
        raise BadRequest(f"The form is malformed ({error}): send it again, whole.") from error


class FormReader:
    """Collects what the parser finds. The bytes of a file are copied only once more, when it is complete.

    Raises BadRequest, PayloadTooLarge, and the parser's FormParserError.
    """

    def __init__(self, boundary: bytes, settings: GatewaySettings) -> None:
        self._settings = settings
        self._upload = Upload()
        self._fields = 0
        self._preamble: bytes | None = b""  # None once the first boundary is there
        self._first_boundary = b"--" + boundary
        self._complete = False
        self._header, self._value, self._disposition = b"", b"", b""
        self._name, self._file_name = "", ""  # of the current part
        self._is_file = False
        self._content = bytearray()
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
        )

    def write(self, piece: bytes) -> None:
        if self._preamble is not None:
            piece = self._without_preamble(piece)
        self._parser.write(piece)

    def upload(self) -> Upload:
        if self._preamble:
            raise BadRequest(OTHER_BOUNDARY)
        if not self._complete:
            raise BadRequest(CUT_SHORT)
        return self._upload

    def close(self) -> None:
        """Drop all bytes now. Parser and reader refer to each other, so Python would free them only later."""
        self._upload, self._content = Upload(), bytearray()

    def _without_preamble(self, piece: bytes) -> bytes:
        """Drop what is before the first boundary: mail programs write a line there, and RFC 2046 allows it."""
        self._preamble = (self._preamble or b"") + piece
        start = self._preamble.find(self._first_boundary)
        if start >= 0:
            begun, self._preamble = self._preamble[start:], None
            return begun
        if len(self._preamble) > PREAMBLE_BYTES:
            raise BadRequest(OTHER_BOUNDARY)
        return b""

    def _on_part_begin(self) -> None:
        self._disposition = b""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header, self._value = b"", b""

    def _on_headers_finished(self) -> None:
        options = options_of(self._disposition)
        self._name, self._file_name = options.get("name", ""), options.get("filename", "")
        self._is_file = "filename" in options and parameter_name(self._name) is None
        self._fields += not self._is_file
        if self._is_file and len(self._upload.files) == self._settings.max_files:
            raise too_many_files(self._settings)
        if self._fields > MAX_FIELDS:
            raise too_many_fields()

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._content += memoryview(data)[start:end]
        if len(self._content) > self._settings.max_file_bytes:
            megabytes = self._settings.max_file_bytes / 10**6
            raise PayloadTooLarge(f"A file is larger than {megabytes:g} MB: send smaller photos.")

    def _on_part_end(self) -> None:
        content, self._content = bytes(self._content), bytearray()
        if not self._is_file:
            self._upload.add_field(self._name, content)
        elif content or self._file_name:
            self._upload.files.append(content)

    def _on_end(self) -> None:
        self._complete = True


def options_of(disposition: bytes) -> dict[str, str]:
    """Return the options of a part's Content-Disposition; a file name in any of RFC 2231's forms is one."""
    options = parse_options_header(disposition)[1]
    found = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in options.items()}
    extended = EXTENDED_NAME.search(disposition)
    return found | {"filename": "extended"} if extended and "filename" not in found else found


def too_many_files(settings: GatewaySettings) -> PayloadTooLarge:
    return PayloadTooLarge(f"The request has more than {settings.max_files} files: split it into several.")


def too_many_fields() -> PayloadTooLarge:
    return PayloadTooLarge(f"The form has more than {MAX_FIELDS} fields: send fewer.")
