"""KServe's v1 predict form and the Open Inference Protocol v2: requests to images, results to their own answers.

    POST /v1/models/NAME:predict    {"instances": [{"b64": ...}]}        -> {"predictions": [...]}
    POST /v2/models/NAME/infer      {"inputs": [{"datatype": ...}]}      -> {"model_name": ..., "outputs": [...]}

TorchServe's service envelopes for them read the first row of a batch only; without one both reach the handler.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from handler.card import ModelCard
from handler.documents import read_json
from handler.errors import BadRequest, PayloadTooLarge, RequestError
from handler.operations import Predict
from handler.parameters import check_names, choose, in_headers, shown
from handler.payload import BODY_FIELDS, parse
from handler.protocols.outputs import JSON_LENGTH, OutputTensors, read_flag, read_object, read_outputs, refuse
from handler.protocols.tensors import read_images
from handler.requests import ImageRequest
from handler.responses import Response, Result, encode, items
from handler.settings import Settings

MAX_ID = 1_000  # characters, which the answer repeats
FORMS = (
    '{"instances": [{"b64": "<base64 of the photo>"}]} (v1) or {"inputs": [{"name": "image", "datatype": "BYTES", '
    '"shape": [1], "data": ["<base64 of the photo>"]}]} (v2), as application/json'
)


@dataclass(frozen=True)
class InferenceProtocols:
    """Both protocols: they share the form of their errors, and TorchServe does not say which of the two it got."""

    settings: Settings
    card: ModelCard
    predict: Predict

    def read(self, row: Mapping[str, Any], headers: Mapping[str, Any]) -> ImageRequest:
        """Read one row. Raises BadRequest or PayloadTooLarge if the request as a whole makes no sense."""
        document, binary = _split(row, headers)
        if "inputs" in document:
            return self._read_infer(document, binary, headers)
        if "instances" in document:
            payload = parse(
                {"body": document}, headers, self.settings, self.predict.labels, self.predict.known_parameters
            )
            return ImageRequest(payload.images, payload.parameters, self.predict, self.write)
        raise BadRequest(f"The JSON has neither instances nor inputs: send {FORMS}.")

    def _read_infer(self, document: dict[str, Any], binary: bytes, headers: Mapping[str, Any]) -> ImageRequest:
        inputs = document["inputs"]
        if not isinstance(inputs, list) or len(inputs) != 1:
            raise BadRequest("The inputs are not a list of one tensor: put all images of a request into one.")
        request_id = document.get("id")
        if not isinstance(request_id, str | None):
            raise BadRequest(f"The id is not a text; it is {shown(request_id)}.")
        if request_id is not None and len(request_id) > MAX_ID:
            raise PayloadTooLarge(
                f"The id has {len(request_id):,} characters and the limit is {MAX_ID:,}: send a shorter one."
            )
        given = dict(read_object(document, "parameters"))
        all_binary = read_flag(given.pop("binary_data_output", False), "binary_data_output")
        check_names(given, self.predict.known_parameters)
        images = read_images(inputs[0], binary, self.settings, self.card.preprocessing.crop)
        parameters = choose(
            in_headers(headers, self.predict.known_parameters) | given, self.settings, self.predict.labels
        )
        outputs = OutputTensors(self.card, parameters.top_k, request_id, read_outputs(document, all_binary))
        return ImageRequest(images, parameters, self.predict, outputs.write)

    def write(self, results: list[Result]) -> Response:
        """Answer v1, with an error in the place of each bad image; if all are bad, refuse the request."""
        errors = [result for result in results if isinstance(result, RequestError)]
        if len(errors) == len(results):
            return refuse(errors[0])
        return Response(HTTPStatus.OK, encode({"predictions": items(results)}))


def _split(row: Mapping[str, Any], headers: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Split a body into its JSON and the binary data behind it. TorchServe may have decoded the JSON already."""
    body = next((row[name] for name in BODY_FIELDS if name in row), None)
    length = next((value for name, value in headers.items() if name.lower() == JSON_LENGTH.lower()), None)
    binary = b""
    if isinstance(body, str):
        body = body.encode(errors="replace")
    if isinstance(body, bytes | bytearray):
        if length is not None:
            body, binary = _cut_at(bytes(body), length)
        body = read_json(body, FORMS)
    if not isinstance(body, dict):
        raise BadRequest(f"The request has no JSON object as its body: send {FORMS}.")
    return body, binary


def _cut_at(body: bytes, length: Any) -> tuple[bytes, bytes]:
    if not (isinstance(length, str) and length.isascii() and length.isdigit() and len(length) < 20):
        raise BadRequest(f"The header {JSON_LENGTH} is not a number of bytes; it is {shown(length)}.")
    if int(length) > len(body):
        raise BadRequest(f"The header {JSON_LENGTH} says {length} bytes of JSON, and the body has {len(body):,}.")
    return body[: int(length)], body[int(length) :]
