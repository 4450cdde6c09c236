"""Finds the photos and the parameters of a request: in a form, in JSON, or a photo that is the body."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request
from pydantic import ValidationError
from python_multipart.multipart import parse_options_header

from densenet_serving.gateway.errors import BadRequest, GatewayError, PayloadTooLarge, explain_invalid, refused
from densenet_serving.gateway.routes.forms import MAX_FIELDS, Form, parameter_of, read_form
from densenet_serving.gateway.routes.schemas import CommonParameters
from densenet_serving.gateway.settings import GatewaySettings
from handler.encodings import JSON_FORM, begins_json, file_in, holds_image, read_instances
from handler.errors import RequestError

NO_PHOTO = (
    "The request has no file: send the photo as the form field file, as curl -F file=@cat.jpg does, as the body "
    f"(curl -T cat.jpg) or as JSON {JSON_FORM}."
)
NO_BOUNDARY = "The header says multipart/form-data without a boundary: leave it to the client library, which adds one."
# Marks of JSON that separate values: base64 has none, so a document of photos has few.
MAX_MARKS = 1000


@dataclass
class Upload:
    """The photos in the order sent, each its bytes or why there are none, and the parameters as they were sent."""

    photos: list[bytes | GatewayError]
    parameters: dict[str, Any]


async def read(request: Request, settings: GatewaySettings) -> Upload:
    """Read the body of a request. Raises BadRequest if it has no photo, and PayloadTooLarge if it has too many."""
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind == b"multipart/form-data" and options:
        upload = from_form(await read_form(boundary_in(options), request.stream(), settings))
    else:
        upload = await from_body(await request.body(), kind)
    if not upload.photos:
        raise BadRequest(NO_BOUNDARY if kind == b"multipart/form-data" and not options else NO_PHOTO)
    if len(upload.photos) > settings.max_files:
        raise PayloadTooLarge(f"The request has more than {settings.max_files} files: split it into several.")
    return upload


def parameters_of(request: Request, query: CommonParameters, upload: Upload) -> dict[str, Any]:
    """Merge the parameters of a request: those of the body win over the query, and that over headers, as Top-K.

    Raises BadRequest for a value that cannot be, and for a name in the body that `query` does not know.
    """
    known = type(query)
    names = {name: name.replace("_", "-") for name in known.model_fields}
    in_headers = {name: request.headers[header] for name, header in names.items() if header in request.headers}
    try:
        first, last = (known.model_validate(found).given() for found in (in_headers, upload.parameters))
    except ValidationError as error:
        raise BadRequest(explain_invalid(error.errors())) from error
    return first | query.given() | last


def boundary_in(options: dict[bytes, bytes]) -> bytes:
    """Raises BadRequest."""
    boundary = next((value for name, value in options.items() if name.lower() == b"boundary"), b"")
    if not boundary:
        raise BadRequest(NO_BOUNDARY)
    return boundary


def from_form(form: Form) -> Upload:
    return Upload(list(form.photos()), dict(form.parameters))


async def from_body(body: bytes, kind: bytes) -> Upload:
    """Read a body that is no multipart form: JSON, urlencoded fields, or a photo whatever its type is called."""
    if kind.endswith(b"json") or begins_json(body):
        return await asyncio.to_thread(from_json, body)
    if kind == b"application/x-www-form-urlencoded" and not holds_image(body):  # which curl calls so unasked
        return from_form(from_urlencoded(body))
    return Upload([body] if body else [], {})


def from_json(body: bytes) -> Upload:
    if sum(body.count(mark) for mark in (b"[", b"{", b",")) > MAX_MARKS:
        raise PayloadTooLarge(f"The JSON has more than {MAX_MARKS} values: send {JSON_FORM}.")
    try:
        instances, parameters = read_instances(body)
    except RequestError as error:
        raise refused(error) from error
    photos = [photo_in(instance, i) for i, instance in enumerate(instances)]
    return Upload(photos, {parameter_of(name) or name: value for name, value in parameters.items()})


def photo_in(instance: Any, index: int) -> bytes | GatewayError:
    photo = file_in(instance, index)
    return refused(photo) if isinstance(photo, RequestError) else photo


def from_urlencoded(body: bytes) -> Form:
    """Read the fields of a body that curl -d or a plain form sends; a + stays one, since base64 has it."""
    form = Form()
    try:
        fields = parse_qsl(body.replace(b"+", b"%2B"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise PayloadTooLarge(f"The form has more than {MAX_FIELDS} fields: send fewer.") from error
    for name, content in fields:
        form.add_field(name.decode(errors="replace"), content)
    return form
