"""One TorchServe row to the image bytes and the parameters it carries. Nothing is decoded here."""

from __future__ import annotations

import base64
import binascii
import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from handler.errors import BadRequest, PayloadTooLarge, RequestError
from handler.settings import Settings

# TorchServe puts a body that is no form under one of these names.
BODY_FIELDS = ("body", "data")

JSON_FORM = '{"instances": [{"b64": "<base64 of the photo>"}], "parameters": {"top_k": 5}}'
NO_IMAGE = (
    "The request has no image: send the photo as the body (curl -T cat.jpg), as a form field "
    f"(curl -F file=@cat.jpg) or as JSON {JSON_FORM}."
)
URLENCODED = (
    "The body came as application/x-www-form-urlencoded, which destroys an image: "
    "add -H 'Content-Type: image/jpeg' to curl --data-binary, or use curl -T cat.jpg."
)


@dataclass(frozen=True)
class Parameters:
    """What a client may choose for one request."""

    top_k: int
    min_probability: float


@dataclass(frozen=True)
class ImageRequest:
    """The images of one request, in the order sent; an item that could not be read is the error saying why."""

    images: tuple[bytes | bytearray | RequestError, ...]
    parameters: Parameters


def parse(row: Mapping[str, Any], headers: Mapping[str, Any], settings: Settings, classes: int) -> ImageRequest:
    """Find the images and parameters in one row of a batch.

    `row` maps field names to what TorchServe made of them: bytes, str (text types) or a decoded JSON value.
    `headers` are the request's own, in the client's case, and for every field its part headers as a mapping.
    Parameters in the body or query win over those in headers.
    Raises BadRequest or PayloadTooLarge where the request as a whole makes no sense.
    """
    request_headers = {name.lower(): value for name, value in headers.items() if isinstance(value, str)}
    # Without its parameters: a form's boundary may spell any word.
    content_type = request_headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "application/x-www-form-urlencoded":
        raise BadRequest(URLENCODED)

    fields = {name: value for name, value in row.items() if _parameter_name(name) is None}
    given = {name: value for name, value in request_headers.items() if _parameter_name(name)}
    images: list[bytes | bytearray | RequestError] = []
    for name, value in fields.items():
        if _is_json(name, value, headers, content_type):
            document = _load_json(value)
            images += [_image_of(instance, i) for i, instance in enumerate(document["instances"])]
            given |= document["parameters"]
        else:
            images.append(_file_of(name, value))
    given |= {name: value for name, value in row.items() if _parameter_name(name)}

    if not images:
        raise BadRequest(NO_IMAGE)
    if len(images) > settings.max_images:
        raise PayloadTooLarge(
            f"The request has {len(images)} images and the limit is {settings.max_images}: split it into several."
        )
    return ImageRequest(tuple(images), _parameters(given, settings, classes))


def _parameter_name(name: str) -> str | None:
    """Recognise a parameter in any spelling: top_k, Top-K, TOP_K."""
    plain = name.lower().replace("-", "_")
    return plain if plain in ("top_k", "min_probability") else None


def _is_json(name: str, value: Any, headers: Mapping[str, Any], content_type: str) -> bool:
    part = headers.get(name)
    own_type = str(part.get("content-type") or "") if isinstance(part, Mapping) else ""
    is_body = name in BODY_FIELDS and "json" in content_type
    return isinstance(value, dict | list) or "json" in own_type.lower() or is_body


def _load_json(value: Any) -> dict[str, Any]:
    """Check the outer form of a JSON document; TorchServe hands on as bytes what it could not parse."""
    if isinstance(value, bytes | bytearray | str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise BadRequest(f"The body is not valid JSON ({error}): send {JSON_FORM}.") from error
    if not isinstance(value, dict) or not isinstance(value.get("instances"), list):
        raise BadRequest(f"The JSON has no list named instances: send {JSON_FORM}.")
    parameters = value.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise BadRequest(f"The JSON's parameters are not an object: send {JSON_FORM}.")
    unknown = sorted(str(name) for name in parameters if _parameter_name(name) is None)
    if unknown:
        names = _cut(", ".join(unknown))
        raise BadRequest(f"Unknown parameter {names}: top_k and min_probability are the ones there are.")
    return {"instances": value["instances"], "parameters": parameters}


def _image_of(instance: Any, index: int) -> bytes | RequestError:
    encoded = instance.get("b64") if isinstance(instance, dict) else None
    if not isinstance(encoded, str):
        return BadRequest(f'Instance {index} has no text named b64: send {{"b64": "<base64 of the photo>"}}.')
    if encoded.startswith("data:"):  # a data URL, as browsers make them
        encoded = encoded.partition(",")[2]
    try:
        return base64.b64decode("".join(encoded.split()), validate=True)  # encoders like to wrap their lines
    except (binascii.Error, ValueError) as error:
        return BadRequest(f"The b64 of instance {index} is not valid base64 ({error}): encode the photo's bytes again.")


def _file_of(name: str, value: Any) -> bytes | bytearray | RequestError:
    if isinstance(value, bytes | bytearray):
        return value
    if isinstance(value, str):
        return value.encode()
    return BadRequest(f"The field {name} holds no file: send the photo's bytes.")


def _parameters(given: Mapping[str, Any], settings: Settings, classes: int) -> Parameters:
    top_k, min_probability = settings.top_k, settings.min_probability
    for name, value in given.items():
        text = value.decode(errors="replace") if isinstance(value, bytes | bytearray) else value
        if _parameter_name(name) == "top_k":
            top_k = _top_k(text, classes)
        else:
            min_probability = _min_probability(text)
    return Parameters(min(top_k, classes), min_probability)


def _top_k(value: Any, classes: int) -> int:
    expected = f"top_k must be a whole number from 1 to {classes}; it is {_shown(value)}."
    if isinstance(value, bool | float):
        raise BadRequest(expected)
    try:
        top_k = int(value)
    except (TypeError, ValueError) as error:
        raise BadRequest(expected) from error
    if not 1 <= top_k <= classes:
        raise BadRequest(expected)
    return top_k


def _min_probability(value: Any) -> float:
    expected = f"min_probability must be a number from 0 to 1; it is {_shown(value)}."
    if isinstance(value, bool):
        raise BadRequest(expected)
    try:
        min_probability = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadRequest(expected) from error
    if not 0 <= min_probability <= 1:  # also refuses nan
        raise BadRequest(expected)
    return min_probability


def _shown(value: Any) -> str:
    """Quote a client's value in a message; reprlib, unlike repr, does not follow a nested one to its end."""
    return _cut(reprlib.repr(value))


def _cut(text: str) -> str:
    """Shorten a client's words to a length a person reads."""
    return text if len(text) <= 40 else f"{text[:37]}..."
