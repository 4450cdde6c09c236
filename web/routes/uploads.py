"""Reads the files and fields of a form as they arrive, and stops at the first one too many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fastapi import Request
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from web.errors import BadRequest, PayloadTooLarge
from web.settings import GatewaySettings

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks  # exists for type checkers only

NO_FORM = "The request has no file: send the photo as the form field file, as curl -F file=@cat.jpg does."
CUT_SHORT = "The form ends in the middle: send it again, whole."
PARAMETERS = ("top_k", "min_probability", "class_id", "overlay")
PARAMETER_BYTES = 100  # a number, or the id of a class


@dataclass
class Form:
    """The files in the order sent, whatever their fields are called, and the fields that are parameters."""

    files: list[bytes] = field(default_factory=list)
    parameters: dict[str, str] = field(default_factory=dict)


async def read(request: Request, settings: GatewaySettings) -> Form:
    """Read a multipart form. Raises BadRequest or PayloadTooLarge, and then reads no further.

    web/guards/bodies.py limits the body as a whole.
    """
    reader = FormReader(boundary_of(request.headers), settings)
    try:
        async for chunk in request.stream():
            reader.write(chunk)
        return reader.form()
    finally:
        reader.close()


def boundary_of(headers: Mapping[str, str]) -> bytes:
    content_type, options = parse_options_header(headers.get("content-type", ""))
    if content_type != b"multipart/form-data" or not options.get(b"boundary"):
        raise BadRequest(NO_FORM)
    return options[b"boundary"]


class FormReader:
    """Collects what the parser finds. The bytes of a file are copied only once more, when it is complete."""

    def __init__(self, boundary: bytes, settings: GatewaySettings) -> None:
        self._max_files = settings.max_files
        self._max_file_bytes = settings.max_file_bytes
        self._parts = 0
        self._form = Form()
        self._complete = False
        self._header, self._value = b"", b""
        self._parameter: str | None = None  # of the current part; None for a file
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
            self._parser.write(chunk)
        except FormParserError as error:
            raise malformed(error) from error

    def form(self) -> Form:
        if not self._complete:
            raise BadRequest(CUT_SHORT)
        return self._form

    def close(self) -> None:
        """Drop all bytes now. Parser and reader refer to each other, so Python would free them only later."""
        self._form, self._content = Form(), bytearray()

    def _on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > self._max_files + len(PARAMETERS):
            raise self._too_many()
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
        name = parse_options_header(self._disposition)[1].get(b"name", b"").decode(errors="replace")
        parameter = name.lower().replace("-", "_")
        self._parameter = parameter if parameter in PARAMETERS else None
        if self._parameter in self._form.parameters:
            raise BadRequest(f"The form has {self._parameter} twice: send it once.")
        if self._parameter is None and len(self._form.files) == self._max_files:
            raise self._too_many()

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        size = len(self._content) + end - start
        if self._parameter is not None and size > PARAMETER_BYTES:
            raise BadRequest(f"The parameter {self._parameter} has more than {PARAMETER_BYTES} characters.")
        if size > self._max_file_bytes:
            megabytes = self._max_file_bytes / 10**6
            raise PayloadTooLarge(f"A file is larger than {megabytes:g} MB: send smaller photos.")
        self._content += memoryview(data)[start:end]

    def _on_part_end(self) -> None:
        if self._parameter is None:
            self._form.files.append(bytes(self._content))
        else:
            self._form.parameters[self._parameter] = self._content.decode(errors="replace")
        self._content = bytearray()

    def _on_end(self) -> None:
        self._complete = True

    def _too_many(self) -> PayloadTooLarge:
        return PayloadTooLarge(f"The request has more than {self._max_files} files: split it into several.")


def malformed(error: FormParserError) -> BadRequest:
    return BadRequest(f"The form is malformed ({error}): send it again, whole.")
