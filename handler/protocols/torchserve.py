"""TorchServe's own addresses: a photo, a form or JSON in; an object for one image out, a list for several.

Images and parameters are found in one row of a batch. Nothing is decoded here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from handler.answers import Response, Result, respond
from handler.encodings import JSON_FORM, begins_json, file_in, holds_image, inflater_for, read_instances
from handler.errors import BadRequest, PayloadTooLarge, RequestError
from handler.operations import Explain, ImageInput, ImageRequest, Operation, Predict
from handler.parameters import check_names, in_headers, parameter_name, shown
from handler.settings import MAX_REQUEST_BYTES, Settings

# TorchServe puts a body that is not a form under one of these names.
BODY_FIELDS = ("body", "data")
FORM = "multipart/form-data"
URLENCODED = "application/x-www-form-urlencoded"
# In one row, with and without files: as many as the gateway takes.
MAX_FIELDS = 1_000

NO_IMAGE = (
    "The request has no image: send the photo as the body (curl -T cat.jpg), as a form field "
    f"(curl -F file=@cat.jpg) or as JSON {JSON_FORM}."
)
NO_IMAGE_URLENCODED = (
    "The body came as application/x-www-form-urlencoded, which destroys an image: "
    "add -H 'Content-Type: image/jpeg' (application/json for JSON) to curl --data-binary, or use curl -T cat.jpg."
)
NO_PART = (
    "TorchServe found no whole part in the form: send it uncompressed, with nothing before its first boundary and its "
    "last one at the end."
)
UNREAD_FORM = (
    "TorchServe did not read the body as a form, which it begins as: send Content-Type: multipart/form-data, in lower "
    "case and with the form's boundary, as a client library writes it by itself."
)


@dataclass(frozen=True)
class TorchServeProtocol:
    """/predictions/NAME, /models/NAME/invoke and gRPC, and /explanations/NAME."""

    predict: Predict
    explain: Explain

    @staticmethod
    def recognizes(headers: Mapping[str, Any]) -> bool:  # noqa: ARG004 - what no other protocol recognizes
        return True

    def read(self, row: Mapping[str, Any], headers: Mapping[str, Any]) -> ImageRequest:
        operation = self.explain if headers.get("explain") == "True" else self.predict
        images, given = parse(row, headers, operation)
        return ImageRequest(images, operation.choose(given), operation, operation.writer(len(images), headers))

    def write(self, results: list[Result]) -> Response:
        return respond(results)


def parse(
    row: Mapping[str, Any], headers: Mapping[str, Any], operation: Operation
) -> tuple[tuple[ImageInput, ...], dict[str, Any]]:
    """Find the images, in the order sent, and the parameters in one row of a batch.

    `row` maps field names to what TorchServe made of them: bytes, str (text types) or a decoded JSON value.
    `headers` are the request's own, in the client's case, and for every field its part headers as a mapping.
    Parameters in the body or query win over those in headers.
    Raises BadRequest or PayloadTooLarge if the request as a whole makes no sense.
    """
    request_headers = {name.lower(): value for name, value in headers.items() if isinstance(value, str)}
    # Without its parameters: a form's boundary may spell any word.
    content_type = request_headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type.startswith("multipart/"):
        _check_form(row)
    fields = {name: value for name, value in row.items() if parameter_name(name) is None}
    if content_type == URLENCODED:
        fields = _photos_in_urlencoded(fields)
    elif content_type == FORM:
        fields = _photos_in_form(fields, headers)

    given: dict[str, Any] = in_headers(request_headers, operation.known_parameters)
    images: list[ImageInput] = []
    for name, value in fields.items():
        if _is_json(name, value, headers, content_type):
            instances, parameters = read_instances(value)
            check_most(len(images) + len(instances), operation.settings)  # before anything is built of them
            images += [file_in(instance, i) for i, instance in enumerate(instances)]
            given |= parameters
        else:
            images.append(_file_of(name, value))
    given |= {name: value for name, value in row.items() if parameter_name(name)}

    check_names(given, operation.known_parameters)
    check_count(len(images), operation.settings)
    return tuple(images), given


def check_count(images: int, settings: Settings) -> None:
    """Raises BadRequest if a request has no image, and PayloadTooLarge if it has too many."""
    if not images:
        raise BadRequest(NO_IMAGE)
    check_most(images, settings)


def check_most(images: int, settings: Settings) -> None:
    """Raises PayloadTooLarge if a request has too many images."""
    if images > settings.max_images:
        raise PayloadTooLarge(
            f"The request has {shown(images)} images and the limit is {settings.max_images}: split it into several."
        )


def check_fields(row: Mapping[str, Any]) -> None:
    """Raises PayloadTooLarge if a form has so many fields that looking at each would take long."""
    if len(row) > MAX_FIELDS:
        raise PayloadTooLarge(f"The form has {len(row):,} fields and the limit is {MAX_FIELDS:,}: send photos alone.")


def uncompressed(row: Mapping[str, Any], headers: Mapping[str, Any]) -> Mapping[str, Any]:
    """Undo the Content-Encoding of a body, which TorchServe leaves to the handler.

    Raises BadRequest if it is damaged, PayloadTooLarge past MAX_REQUEST_BYTES, and UnsupportedMediaType for a coding
    that cannot be undone.
    """
    coding = next((value for name, value in headers.items() if name.lower() == "content-encoding"), "")
    inflater = inflater_for(coding, MAX_REQUEST_BYTES) if isinstance(coding, str) else None
    body = next((name for name in BODY_FIELDS if isinstance(row.get(name), bytes | bytearray)), None)
    if inflater is None or body is None:
        return row
    inflated = inflater.write(row[body])
    inflater.finish()
    return {**row, body: inflated}


def _check_form(row: Mapping[str, Any]) -> None:
    """Raises BadRequest if TorchServe made nothing of a form."""
    if not row:
        raise BadRequest(NO_PART)
    if isinstance(body := row.get("body"), bytes | bytearray) and len(row) == 1 and body.lstrip()[:2] == b"--":
        raise BadRequest(UNREAD_FORM)


def _photos_in_form(fields: Mapping[str, Any], headers: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out of a form what is no photo: fields without a file name, and file inputs left empty beside one photo.

    TorchServe gives a part with a file name a content type and others an empty one. In a form without a file, a field
    whose bytes are an image, or the base64 of one, is a photo.
    """
    files = {name: value for name, value in fields.items() if _type_of(name, headers) != ""}
    photos = files or {name: value for name, value in fields.items() if _holds_image(value)}
    filled = {name: value for name, value in photos.items() if value not in (b"", "")}
    return filled if len(filled) == 1 else photos


def _photos_in_urlencoded(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Find base64 in the fields; a + that was sent as it is became a space. Raises BadRequest if there is none."""
    texts = {name: value.replace(b" ", b"+") for name, value in fields.items() if isinstance(value, bytes | bytearray)}
    photos = {name: text for name, text in texts.items() if _holds_image(text)}
    if not photos:
        raise BadRequest(NO_IMAGE_URLENCODED)
    return photos


def _holds_image(value: Any) -> bool:
    return isinstance(value, bytes | bytearray) and holds_image(value)


def _type_of(name: str, headers: Mapping[str, Any]) -> str | None:
    """Return the content type of a form's part as TorchServe has it; None if it says nothing about the part."""
    part = headers.get(name)
    return str(part.get("content-type") or "").lower() if isinstance(part, Mapping) else None


def _is_json(name: str, value: Any, headers: Mapping[str, Any], content_type: str) -> bool:
    if isinstance(value, dict | list) or "json" in (_type_of(name, headers) or ""):
        return True
    is_text = isinstance(value, bytes | bytearray) and begins_json(value)
    return name in BODY_FIELDS and ("json" in content_type or is_text)


def _file_of(name: str, value: Any) -> bytes | bytearray | RequestError:
    if isinstance(value, bytes | bytearray):
        return value
    if isinstance(value, str):
        return value.encode()
    return BadRequest(f"The field {name} holds no file: send the photo's bytes.")
