"""A request's body to the files and fields it carries, read as it arrives and never past its limits."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fastapi import Request
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from web.errors import BadRequest, RequestEntityTooLarge, RequestTimeout
from web.settings import GatewaySettings

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks  # exists for type checkers only

NO_FORM = "The request has no file: send the photo as the form field file, as curl -F file=@cat.jpg does."
CUT_SHORT = "The form ends in the middle: send it again, whole."
PARAMETERS = ("top_k", "min_probability", "class_id", "overlay")


@dataclass
class Form:
    """The files in the order sent, whatever their fields' names, and the parameters among the fields."""

    files: list[bytes] = field(default_factory=list)
    parameters: dict[str, str] = field(default_factory=dict)


async def read(request: Request, settings: GatewaySettings) -> Form:
    """Read a multipart form. Raises BadRequest, RequestEntityTooLarge or RequestTimeout, without reading on."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > settings.max_body_bytes:
        raise too_large(settings)
    reader = FormReader(boundary_of(request.headers), settings)
    size = 0
    try:
        async with asyncio.timeout(settings.upload_seconds):
            async for chunk in request.stream():
                size += len(chunk)
                if size > settings.max_body_bytes:
                    raise too_large(settings)
                reader.write(chunk)
    except TimeoutError as error:
        raise RequestTimeout(
            f"The upload took longer than {settings.upload_seconds:g} s: send smaller photos or fewer at once."
        ) from error
    return reader.form()


def boundary_of(headers: Mapping[str, str]) -> bytes:
    content_type, options = parse_options_header(headers.get("content-type", ""))
    if content_type != b"multipart/form-data" or not options.get(b"boundary"):
        raise BadRequest(NO_FORM)
    return options[b"boundary"]


def too_large(settings: GatewaySettings) -> RequestEntityTooLarge:
    megabytes = settings.max_body_bytes / 2**20
    return RequestEntityTooLarge(f"The request is larger than {megabytes:g} MiB: send smaller photos or fewer at once.")


class FormReader:
    """Collects what the parser finds. A file's bytes are copied once more only, when it is complete."""

    def __init__(self, boundary: bytes, settings: GatewaySettings) -> None:
        self._max_files = settings.max_files
        self._form = Form()
        self._complete = False
        self._header, self._value, self._disposition = b"", b"", b""
        self._content = bytearray()
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._on_part_begin,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
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

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._content += memoryview(data)[start:end]

    def _on_part_end(self) -> None:
        name = parse_options_header(self._disposition)[1].get(b"name", b"").decode(errors="replace")
        if (parameter := name.lower().replace("-", "_")) in PARAMETERS:
            if parameter in self._form.parameters:
                raise BadRequest(f"The form has {parameter} twice: send it once.")
            self._form.parameters[parameter] = self._content.decode(errors="replace")
            return
        if len(self._form.files) == self._max_files:
            raise RequestEntityTooLarge(f"The request has more than {self._max_files} files: split it into several.")
        self._form.files.append(bytes(self._content))

    def _on_end(self) -> None:
        self._complete = True


def malformed(error: FormParserError) -> BadRequest:
    return BadRequest(f"The form is malformed ({error}): send it again, whole.")
