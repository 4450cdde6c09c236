"""Read the JSON of a request: KServe's v1 form, which this project's own addresses take too."""

from __future__ import annotations

import json
from typing import Any

from handler.errors import BadRequest, PayloadTooLarge

# What a document is made of, by the marks that each of it has in the text, and how many marks there may be: bytes of
# text become twenty times as many in memory. A tensor of 32 images of 224 x 224 pixels, nested to its last list of
# three, has 1,612,832 lists and 4,816,895 commas; one of files has a quotation mark more than two for each image.
MAX_MARKS = {"lists and objects": ("[{", 2_000_000), "commas": (",", 5_000_000), "quotation marks": ('"', 20_000)}

JSON_FORM = '{"instances": [{"b64": "<base64 of the photo>"}], "parameters": {"top_k": 5}}'


def begins_json(body: bytes | bytearray) -> bool:
    """Say whether a body begins as a JSON object does, which no image does: many clients call JSON text/plain."""
    return bytes(body[:100]).lstrip().startswith(b"{")


def read_instances(value: Any) -> tuple[list[Any], dict[str, Any]]:
    """Return the instances and the parameters of a JSON document, a text or what was made of it.

    Raises BadRequest if it has another form, and PayloadTooLarge as `read_json` does.
    """
    if isinstance(value, bytes | bytearray | str):
        value = read_json(value, JSON_FORM)
    if not isinstance(value, dict) or not isinstance(value.get("instances"), list):
        raise BadRequest(f"The JSON has no list named instances: send {JSON_FORM}.")
    parameters = value.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise BadRequest(f"The JSON's parameters are not an object: send {JSON_FORM}.")
    return value["instances"], parameters


def read_json(text: bytes | bytearray | str, form: str) -> Any:
    """Read a JSON document; `form` says in a message what it should be.

    Raises BadRequest if it is none, and PayloadTooLarge, before anything is built, if it is past MAX_MARKS.
    """
    for name, (marks, limit) in MAX_MARKS.items():
        found = sum(text.count(mark) if isinstance(text, str) else text.count(mark.encode()) for mark in marks)
        if found > limit:
            raise PayloadTooLarge(f"The JSON has {found:,} {name} and the limit is {limit:,}: send {form}.")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"The body is not valid JSON ({error}): send {form}.") from error


def base64_in(instance: Any, index: int) -> str | BadRequest:
    """Return the base64 of one instance, or the error that says why it has none."""
    encoded = instance.get("b64") if isinstance(instance, dict) else None
    if isinstance(encoded, str):
        return encoded
    return BadRequest(f'Instance {index} has no text named b64: send {{"b64": "<base64 of the photo>"}}.')
