"""What an image is answered: records, from which JSON, schemas, columns and tensors derive.

To add a field, write it here and where it is computed (handler/operations.py). The gateway's OpenAPI is made from the
records themselves; from COLUMNS come the columns of CSV and Parquet and the output tensors of v2.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from http import HTTPStatus
from typing import Any, NamedTuple, Self, get_args, get_origin, get_type_hints

from handler.errors import PayloadTooLarge, RequestError

CONTENT_TYPE = "application/json"
# The header with the CPU time that a request's images took to decode: the gateway counts what each client costs.
DECODE_SECONDS = "X-Decode-Seconds"
# TorchServe's max_response_size where nothing sets it. It ends a worker that answers a row with more.
MAX_ANSWER_BYTES = 6_553_500
DIGITS = 6  # of a probability: f32 and exact arithmetic differ in those after them

# TorchServe names the type of an error after its Java class; clients that read it keep working. These do not follow
# from the name that Python gives the status; newer ones call 413 otherwise.
ERROR_TYPES = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "RequestEntityTooLargeException",
    HTTPStatus.NOT_FOUND: "ResourceNotFoundException",
    HTTPStatus.INTERNAL_SERVER_ERROR: "InternalServerException",
}


@dataclass(frozen=True)
class Prediction:
    """One class and how probable it is."""

    class_id: str = field(metadata={"description": "The id of the class, such as n02124075."})
    class_name: str = field(metadata={"description": "The name of the class, such as Egyptian_cat."})
    probability: float = field(metadata={"description": "From 0 to 1."})


@dataclass(frozen=True)
class Answer:
    """What is on one image. A multi-label model always lists predictions: all classes that are on the image."""

    class_id: str | None = field(metadata={"description": "The best class; null if the image is not recognized."})
    class_name: str | None = field(metadata={"description": "Its name; null if the image is not recognized."})
    probability: float = field(metadata={"description": "The probability of the best class, from 0 to 1."})
    recognized: bool = field(metadata={"description": "Whether the best class is probable enough."})
    predictions: tuple[Prediction, ...] | None = field(
        default=None, metadata={"description": "The best classes, if top_k is over 1."}
    )

    @classmethod
    def of(cls, best: Prediction, recognized: bool, listed: Sequence[Prediction] | None = None) -> Self:
        """Answer with the best class, which is named only if it is recognized."""
        class_id, class_name = (best.class_id, best.class_name) if recognized else (None, None)
        return cls(class_id, class_name, best.probability, recognized, None if listed is None else tuple(listed))


@dataclass(frozen=True)
class Explanation:
    """A class of one image, and a picture of what speaks for it."""

    class_id: str = field(metadata={"description": "The class that is explained."})
    class_name: str = field(metadata={"description": "Its name."})
    probability: float = field(metadata={"description": "Its probability, from 0 to 1."})
    recognized: bool = field(metadata={"description": "Whether the best class is, whichever is explained."})
    overlay: bytes = field(metadata={"description": "A PNG in base64: what the model saw, under the colors."})
    maps: dict[str, list[list[float]]] = field(
        metadata={"description": "By class_id, for the class explained and all predictions: where it was seen, 0 to 1."}
    )
    predictions: tuple[Prediction, ...] | None = field(
        default=None, metadata={"description": "The best classes, if top_k is over 1."}
    )


# What became of one image: its answer, or why it has none.
Result = Answer | Explanation | RequestError


class Column(NamedTuple):
    """A field of a record. `type` is str, float, bool, dict, or the record of which the field is a list.

    A field that `may_be_missing` is left out of the JSON where it is None; another is null there.
    """

    name: str
    type: type
    is_list: bool
    may_be_missing: bool


def _column(one: Field[Any], hint: Any) -> Column:
    [kind] = set(get_args(hint)) - {type(None)} if type(None) in get_args(hint) else {hint}
    is_list = get_origin(kind) is tuple
    kind = get_args(kind)[0] if is_list else get_origin(kind) or kind
    return Column(one.name, str if kind is bytes else kind, is_list, one.default is not MISSING)  # bytes are base64


COLUMNS: dict[type, tuple[Column, ...]] = {
    record: tuple(_column(one, get_type_hints(record)[one.name]) for one in fields(record))
    for record in (Prediction, Answer, Explanation)
}


def to_json(record: Any) -> dict[str, Any]:
    """Return a record as JSON has it."""
    content = {}
    for column in COLUMNS[type(record)]:
        value = getattr(record, column.name)
        if value is not None:
            content[column.name] = _value(value)
        elif not column.may_be_missing:
            content[column.name] = None
    return content


def _value(value: Any) -> Any:
    match value:
        case float():
            return round(value, DIGITS)
        case bytes():
            return base64.b64encode(value).decode()
        case tuple():
            return [to_json(one) for one in value]
    return value


@dataclass(frozen=True)
class Response:
    """What one row is answered; `headers` are those beside the content type."""

    status: HTTPStatus
    body: bytes
    content_type: str = CONTENT_TYPE
    headers: Mapping[str, str] = field(default_factory=dict)


Writer = Callable[[list[Result]], Response]


def answer(write: Writer, results: list[Result]) -> Response:
    """Write the answer of one request; one that is too long for TorchServe becomes an error of status 413."""
    response = write(results)
    if len(response.body) <= MAX_ANSWER_BYTES:
        return response
    said = f"The answer has {len(response.body):,} bytes and the limit is {MAX_ANSWER_BYTES:,}"
    return write([PayloadTooLarge(f"{said}: send fewer images, or ask for a smaller top_k.")])


def respond(results: list[Result]) -> Response:
    """Put the results of one request together: an object for one image, a list for several.

    The status is 200 as long as one image got its answer, and otherwise that of the first error.
    """
    errors = [result for result in results if isinstance(result, RequestError)]
    if len(results) == 1 and errors:
        return Response(errors[0].status, encode(describe_error(errors[0].status, str(errors[0]))))
    status = errors[0].status if len(errors) == len(results) else HTTPStatus.OK
    content = items(results)
    return Response(status, encode(content[0] if len(content) == 1 else content))


def items(results: list[Result]) -> list[dict[str, Any]]:
    """List the results of one request, an error as {"error": ...} in its image's place."""
    return [
        {"error": describe_error(result.status, str(result))} if isinstance(result, RequestError) else to_json(result)
        for result in results
    ]


def describe_error(status: int, message: str) -> dict[str, Any]:
    """Give an error the form of TorchServe's own, which all errors of the worker and the gateway have."""
    known = HTTPStatus(status)
    kind = ERROR_TYPES.get(known, known.name.title().replace("_", "") + "Exception")
    return {"code": known.value, "type": kind, "message": message}


def encode(content: Any) -> bytes:
    """Write JSON in the fewest bytes, other scripts as they are, without \\u escapes."""
    # A message may quote half a surrogate pair, which JSON allows a client to send and UTF-8 cannot hold.
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode(errors="replace")
