"""Reads the files and fields of a form as they arrive, up to the first one too many."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from densenet_serving.gateway.errors import BadRequest, PayloadTooLarge
from densenet_serving.gateway.settings import GatewaySettings
from handler.encodings import holds_image
from handler.errors import RequestError
from handler.parameters import parameter_name

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks  # exists for type checkers only

OTHER_BOUNDARY = (
    "The form is malformed (the boundary that its Content-Type names does not begin any part): leave that header to "
    "the client library."
)
CUT_SHORT = "The form ends in the middle: send it again, whole."
MAX_FIELDS = 1000
PARAMETER_BYTES = 100  # a number, or the id of a class
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
        """Raises BadRequest if it is a parameter that the form has twice, or one too long to be a value."""
        parameter = parameter_name(name)
        if parameter is None:
            self.others.append(content)
            return
        if parameter in self.parameters:
            raise BadRequest(f"The form has {parameter} twice: send it once.")
        check_length(parameter, len(content))
        self.parameters[parameter] = content.decode(errors="replace")


def check_length(parameter: str, size: int) -> None:
    if size > PARAMETER_BYTES:
        raise BadRequest(f"The parameter {parameter} has more than {PARAMETER_BYTES} characters.")


async def read_form(boundary: bytes, pieces: AsyncIterator[bytes], settings: GatewaySettings) -> Upload:
    """Read a multipart form. Raises BadRequest or PayloadTooLarge, and then reads no further."""
    reader = FormReader(boundary, settings)
    try:
        async for piece in pieces:
            reader.write(piece)
        return reader.upload()
    finally:
        reader.close()


class FormReader:
    """Collects what the parser finds. The bytes of a file are copied only once more, when it is complete."""

    def __init__(self, boundary: bytes, settings: GatewaySettings) -> None:
        self._settings = settings
        self._upload = Upload()
        self._fields = 0
        self._preamble: bytes | None = b""  # None once the first boundary is there
        self._first_boundary = b"--" + boundary
        self._complete = False
        self._header, self._value = b"", b""
        self._name = ""
        self._file_name: str | None = None  # of the current part; None for a field
        self._content = bytearray()
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._on_part_begin,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_part_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }
        try:
            self._parser = MultipartParser(boundary, callbacks)
        except FormParserError as error:
            raise malformed(error) from error

    def write(self, chunk: bytes) -> None:
        try:
            self._parser.write(self._without_preamble(chunk))
        except FormParserError as error:
            raise malformed(error) from error

    def upload(self) -> Upload:
        if self._preamble:
            raise BadRequest(OTHER_BOUNDARY)
        if not self._complete:
            raise BadRequest(CUT_SHORT)
        return self._upload

    def close(self) -> None:
        """Drop all bytes now. Parser and reader refer to each other, so Python would free them only later."""
        self._upload, self._content = Upload(), bytearray()

    def _without_preamble(self, chunk: bytes) -> bytes:
        """Drop what is before the first boundary: mail programs write a line there, and RFC 2046 allows it."""
        if self._preamble is None:
            return chunk
        self._preamble += chunk
        start = self._preamble.find(self._first_boundary)
        if start < 0 and len(self._preamble) > PREAMBLE_BYTES:
            raise BadRequest(OTHER_BOUNDARY)
        if start < 0:
            return b""
        begun, self._preamble = self._preamble[start:], None
        return begun

    def _on_part_begin(self) -> None:
        self._disposition, self._content = b"", bytearray()

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
        self._name, self._file_name = options.get("name", ""), options.get("filename")
        if self._is_file:
            if len(self._upload.files) == self._settings.max_files:
                raise too_many_files(self._settings)
            return
        self._fields += 1
        if self._fields > MAX_FIELDS:
            raise too_many_fields()

    @property
    def _is_file(self) -> bool:
        return self._file_name is not None and parameter_name(self._name) is None

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        size = len(self._content) + end - start
        if parameter := parameter_name(self._name):
            check_length(parameter, size)
        if size > self._settings.max_file_bytes:
            megabytes = self._settings.max_file_bytes / 10**6
            raise PayloadTooLarge(f"A file is larger than {megabytes:g} MB: send smaller photos.")
        self._content += memoryview(data)[start:end]

    def _on_part_end(self) -> None:
        if not self._is_file:
            self._upload.add_field(self._name, bytes(self._content))
        elif self._content or self._file_name:
            self._upload.files.append(bytes(self._content))
        self._content = bytearray()

    def _on_end(self) -> None:
        self._complete = True


def options_of(disposition: bytes) -> dict[str, str]:
    """Return the options of a part's Content-Disposition; a file name in any of RFC 2231's forms is one."""
    options = parse_options_header(disposition)[1]
    found = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in options.items()}
    extended = EXTENDED_NAME.search(disposition)
    return found | {"filename": "extended"} if extended and "filename" not in found else found


def malformed(error: FormParserError) -> BadRequest:
    return BadRequest(f"The form is malformed ({error}): send it again, whole.")


def too_many_files(settings: GatewaySettings) -> PayloadTooLarge:
    return PayloadTooLarge(f"The request has more than {settings.max_files} files: split it into several.")


def too_many_fields() -> PayloadTooLarge:
    return PayloadTooLarge(f"The form has more than {MAX_FIELDS} fields: send fewer.")
