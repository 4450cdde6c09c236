"""Write predictions and errors as the JSON that leaves the worker."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from handler.errors import PayloadTooLarge, RequestError
from handler.labels import Prediction
from handler.parameters import Parameters

CONTENT_TYPE = "application/json"
# TorchServe's max_response_size where nothing sets it. It ends a worker that answers a row with more.
MAX_ANSWER_BYTES = 6_553_500

# What became of one image: the fields of its answer, or why it has none.
Result = dict[str, Any] | RequestError

# TorchServe names the type of an error after its Java class; clients that read it keep working.
ERROR_TYPES = {
    HTTPStatus.BAD_REQUEST: "BadRequestException",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "RequestEntityTooLargeException",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "UnsupportedMediaTypeException",
    HTTPStatus.INTERNAL_SERVER_ERROR: "InternalServerException",
    HTTPStatus.SERVICE_UNAVAILABLE: "ServiceUnavailableException",
}


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
    return write(
        [
            PayloadTooLarge(
                f"The answer has {len(response.body):,} bytes and the limit is {MAX_ANSWER_BYTES:,}: send "
                "fewer images, or ask for a smaller top_k."
            )
        ]
    )


def prediction(predictions: list[Prediction], parameters: Parameters) -> dict[str, Any]:
    """Answer one image. `predictions` is ranked, best first; the best decides whether it is recognized."""
    best = predictions[0]
    listed = {"predictions": _listed(predictions)} if parameters.top_k > 1 else {}
    return _best(best, best.probability >= parameters.min_probability) | listed


def findings(there: list[Prediction], best: Prediction) -> dict[str, Any]:
    """Answer one image of a multi-label model with all classes that are on it; `best` is the likeliest of all."""
    return _best(best, bool(there)) | {"predictions": _listed(there)}


def _best(best: Prediction, recognized: bool) -> dict[str, Any]:
    return {
        "class_id": best.class_id if recognized else None,
        "class_name": best.class_name if recognized else None,
        "probability": _rounded(best.probability),
        "recognized": recognized,
    }


def _listed(predictions: list[Prediction]) -> list[dict[str, Any]]:
    return [
        {"class_id": one.class_id, "class_name": one.class_name, "probability": _rounded(one.probability)}
        for one in predictions
    ]


def explanation(
    explained: Prediction,
    best: float,
    parameters: Parameters,
    overlay: bytes,
    maps: Mapping[str, list[list[float]]],
    listed: list[dict[str, Any]],
) -> dict[str, Any]:
    """Answer one image with the class that was explained.

    `best` is the highest probability of any class, `overlay` a PNG. `maps` has by class id where the class was seen,
    (h, w) from 0 to 1, for the class explained and those `listed`, which are answered if several were asked for.
    """
    return {
        "class_id": explained.class_id,
        "class_name": explained.class_name,
        "probability": _rounded(explained.probability),
        "recognized": bool(best >= parameters.min_probability),
        "overlay": overlay,
        "maps": maps,
    } | ({"predictions": listed} if parameters.top_k > 1 else {})


def describe_error(error: RequestError) -> dict[str, Any]:
    """Give an error the form of TorchServe's own."""
    return {"code": int(error.status), "type": ERROR_TYPES[error.status], "message": str(error)}


def respond(results: list[Result]) -> Response:
    """Put the results of one request together: an object for one image, a list for several.

    The status is 200 as long as one image got its answer, and otherwise that of the first error.
    """
    errors = [result for result in results if isinstance(result, RequestError)]
    if len(results) == 1 and errors:
        return Response(errors[0].status, encode(describe_error(errors[0])))
    status = errors[0].status if len(errors) == len(results) else HTTPStatus.OK
    content = items(results)
    return Response(status, encode(content[0] if len(content) == 1 else content))


def items(results: list[Result]) -> list[dict[str, Any]]:
    """List the results of one request, an error as {"error": ...} in its image's place."""
    return [{"error": describe_error(result)} if isinstance(result, RequestError) else result for result in results]


def encode(content: Any) -> bytes:
    """Write JSON in the fewest bytes, other scripts as they are, without \\u escapes, and bytes as base64."""
    # A message may quote half a surrogate pair, which JSON allows a client to send and UTF-8 cannot hold.
    text = json.dumps(content, default=_base64, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode(errors="replace")


def _base64(value: Any) -> str:
    return base64.b64encode(value).decode()


def _rounded(probability: float) -> float:
    """Keep six decimals: f32 and exact arithmetic differ in those after them."""
    return round(probability, 6)
