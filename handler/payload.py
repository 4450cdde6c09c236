"""Find the images and the parameters in one row of a TorchServe batch. Nothing is decoded here."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handler.errors import BadRequest, PayloadTooLarge, RequestError
from handler.labels import Labels
from handler.parameters import Parameters, check_names, choose, in_headers, parameter_name, shown
from handler.settings import Settings

# TorchServe puts a body that is not a form under one of these names.
BODY_FIELDS = ("body", "data")

# A tensor of 32 images, nested to its last list of three, has 1,612,832.
MAX_CONTAINERS = 2_000_000

JSON_FORM = '{"instances": [{"b64": "<base64 of the photo>"}], "parameters": {"top_k": 5}}'
NO_IMAGE = (
    "The request has no image: send the photo as the body (curl -T cat.jpg), as a form field "
    f"(curl -F file=@cat.jpg) or as JSON {JSON_FORM}."
)
URLENCODED = (
    "The body came as application/x-www-form-urlencoded, which destroys an image: "
    "add -H 'Content-Type: image/jpeg' to curl --data-binary, or use curl -T cat.jpg."
)


# An encoded file, pixels ready for the model (uint8 HWC), or the error that says why there is neither.
ImageInput = bytes | bytearray | NDArray[np.uint8] | RequestError


@dataclass(frozen=True)
class Payload:
    """What one request carries: its images, in the order sent, and its parameters."""

    images: tuple[ImageInput, ...]
    parameters: Parameters


def parse(
    row: Mapping[str, Any], headers: Mapping[str, Any], settings: Settings, labels: Labels, known: tuple[str, ...]
) -> Payload:
    """Find the images and parameters in one row of a batch.

    `row` maps field names to what TorchServe made of them: bytes, str (text types) or a decoded JSON value.
    `headers` are the request's own, in the client's case, and for every field its part headers as a mapping.
    `known` names the parameters there are; those in the body or query win over those in headers.
    Raises BadRequest or PayloadTooLarge if the request as a whole makes no sense.
    """
    request_headers = {name.lower(): value for name, value in headers.items() if isinstance(value, str)}
    # Without its parameters: a form's boundary may spell any word.
    content_type = request_headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "application/x-www-form-urlencoded":
        raise BadRequest(URLENCODED)

    fields = {name: value for name, value in row.items() if parameter_name(name) is None}
    given: dict[str, Any] = {}
    images: list[ImageInput] = []
    for name, value in fields.items():
        if _is_json(name, value, headers, content_type):
            document = _load_json(value)
            check_most(len(images) + len(document["instances"]), settings)  # before anything is built of them
            images += [_image_of(instance, i) for i, instance in enumerate(document["instances"])]
            given |= document["parameters"]
        else:
            images.append(_file_of(name, value))
    given |= {name: value for name, value in row.items() if parameter_name(name)}

    check_names(given, known)
    check_count(len(images), settings)
    return Payload(tuple(images), choose(in_headers(request_headers, known) | given, settings, labels))


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


def _is_json(name: str, value: Any, headers: Mapping[str, Any], content_type: str) -> bool:
    part = headers.get(name)
    own_type = str(part.get("content-type") or "") if isinstance(part, Mapping) else ""
    is_body = name in BODY_FIELDS and "json" in content_type
    return isinstance(value, dict | list) or "json" in own_type.lower() or is_body


def _load_json(value: Any) -> dict[str, Any]:
    """Read a JSON document and check its outer form; TorchServe passes on undecoded what it could not parse."""
    if isinstance(value, bytes | bytearray | str):
        value = read_json(value, JSON_FORM)
    if not isinstance(value, dict) or not isinstance(value.get("instances"), list):
        raise BadRequest(f"The JSON has no list named instances: send {JSON_FORM}.")
    parameters = value.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise BadRequest(f"The JSON's parameters are not an object: send {JSON_FORM}.")
    return {"instances": value["instances"], "parameters": parameters}


def read_json(text: bytes | bytearray | str, form: str) -> Any:
    """Read a JSON document; `form` says in a message what it should be.

    Raises BadRequest if it is none. Raises PayloadTooLarge, before anything is built, if it has too many lists and
    objects: three bytes of text become a hundred in memory.
    """
    found = sum(text.count(bracket) if isinstance(text, str) else text.count(bracket.encode()) for bracket in "[{")
    if found > MAX_CONTAINERS:
        raise PayloadTooLarge(
            f"The JSON has {found:,} lists and objects and the limit is {MAX_CONTAINERS:,}: send {form}."
        )
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"The body is not valid JSON ({error}): send {form}.") from error


def _image_of(instance: Any, index: int) -> bytes | RequestError:
    encoded = instance.get("b64") if isinstance(instance, dict) else None
    if not isinstance(encoded, str):
        return BadRequest(f'Instance {index} has no text named b64: send {{"b64": "<base64 of the photo>"}}.')
    return from_base64(encoded, f"b64 of instance {index}")


def from_base64(encoded: str, name: str) -> bytes | RequestError:
    """Decode one image from base64; `name` says in a message which one it was."""
    if encoded.startswith("data:"):  # a data URL, as browsers make them
        encoded = encoded.partition(",")[2]
    try:
        return base64.b64decode("".join(encoded.split()), validate=True)  # many encoders wrap lines
    except (binascii.Error, ValueError) as error:
        return BadRequest(f"The {name} is not valid base64 ({error}): encode the photo's bytes again.")


def _file_of(name: str, value: Any) -> bytes | bytearray | RequestError:
    if isinstance(value, bytes | bytearray):
        return value
    if isinstance(value, str):
        return value.encode()
    return BadRequest(f"The field {name} holds no file: send the photo's bytes.")
