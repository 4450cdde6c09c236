"""Finds the photos and the parameters of a request: in a form, in JSON, or a photo that is the body."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request
from python_multipart.multipart import parse_options_header

from densenet_serving.gateway.errors import BadRequest, PayloadTooLarge
from densenet_serving.gateway.routes.forms import MAX_FIELDS, Upload, read_form, too_many_fields, too_many_files
from densenet_serving.gateway.settings import GatewaySettings
from handler.documents import JSON_FORM, base64_in, begins_json, read_instances
from handler.encodings import from_base64, holds_image
from handler.errors import RequestError
from handler.parameters import check_names, in_headers, parameter_name

NO_PHOTO = (
    "The request has no file: send the photo as the form field file, as curl -F file=@cat.jpg does, as the body "
    f"(curl -T cat.jpg) or as JSON {JSON_FORM}."
)
NO_BOUNDARY = "The header says multipart/form-data without a boundary: leave it to the client library, which adds one."
# Marks of JSON that separate values: base64 has none, so a document of photos has few.
MAX_MARKS = 1000


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

    Raises the handler's BadRequest for a name, but in a header, that is not `known`.
    """
    query = dict(request.query_params)
    check_names({**query, **upload.parameters}, known)
    given = [*in_headers(request.headers, known).items(), *query.items(), *upload.parameters.items()]
    return {parameter_name(name) or name: value for name, value in given}


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
    if sum(body.count(mark) for mark in (b"[", b"{", b",")) > MAX_MARKS:
        raise PayloadTooLarge(f"The JSON has more than {MAX_MARKS} values: send {JSON_FORM}.")
    instances, parameters = read_instances(body)
    return Upload([photo_in(instance, i) for i, instance in enumerate(instances)], parameters)


def photo_in(instance: Any, index: int) -> bytes | RequestError:
    encoded = base64_in(instance, index)
    return from_base64(encoded, f"b64 of instance {index}") if isinstance(encoded, str) else encoded


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
