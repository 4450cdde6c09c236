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

from handler.answers import Response, Result, encode, items, to_json
from handler.card import ModelCard
from handler.encodings import read_json
from handler.errors import BadRequest, PayloadTooLarge, RequestError
from handler.operations import ImageRequest, Predict
from handler.parameters import in_headers, shown
from handler.protocols.tensors import OUTPUTS, read_images, write_outputs
from handler.protocols.torchserve import BODY_FIELDS, parse

# Says how many bytes of a body are the JSON that binary tensors follow.
JSON_LENGTH = "Inference-Header-Content-Length"
MAX_ID = 1_000  # characters, which the answer repeats
FORMS = (
    '{"instances": [{"b64": "<base64 of the photo>"}]} (v1) or {"inputs": [{"name": "image", "datatype": "BYTES", '
    '"shape": [1], "data": ["<base64 of the photo>"]}]} (v2), as application/json'
)


@dataclass(frozen=True)
class InferenceProtocols:
    """Both protocols: they share the form of their errors, and TorchServe does not say which of the two it got."""

    card: ModelCard
    predict: Predict

    @staticmethod
    def recognizes(headers: Mapping[str, Any]) -> bool:
        """TorchServe 0.12 gives /v1 and /v2 the header explain alone, and /predictions and /explanations url_path too.

        /models/NAME/invoke has neither.
        """
        names = {name.lower() for name in headers}
        return "explain" in names and "url_path" not in names

    def read(self, row: Mapping[str, Any], headers: Mapping[str, Any]) -> ImageRequest:
        document, binary = _split(row, headers)
        if "inputs" in document:
            return self._read_infer(document, binary, headers)
        if "instances" in document:
            images, given = parse({"body": document}, headers, self.predict)
            return ImageRequest(images, self.predict.choose(given), self.predict, self.write)
        raise BadRequest(f"The JSON has neither instances nor inputs: send {FORMS}.")

    def _read_infer(self, document: dict[str, Any], binary: bytes, headers: Mapping[str, Any]) -> ImageRequest:
        inputs = document["inputs"]
        if not isinstance(inputs, list) or len(inputs) != 1:
            raise BadRequest("The inputs are not a list of one tensor: put all images of a request into one.")
        request_id = _id_of(document)
        given = dict(_object(document, "parameters"))
        all_binary = _flag(given.pop("binary_data_output", False), "binary_data_output")
        chosen = self.predict.choose(in_headers(headers, self.predict.known_parameters) | given)
        images = read_images(inputs[0], binary, self.predict.settings, self.card.preprocessing.crop)
        outputs = Outputs(self.card, chosen.top_k, request_id, _wanted(document, all_binary))
        return ImageRequest(images, chosen, self.predict, outputs.write)

    def write(self, results: list[Result]) -> Response:
        """Answer v1, with an error in the place of each bad image; if all are bad, refuse the request."""
        errors = [result for result in results if isinstance(result, RequestError)]
        if len(errors) == len(results):
            return _refuse(errors[0])
        return Response(HTTPStatus.OK, encode({"predictions": items(results)}))


@dataclass(frozen=True)
class Outputs:
    """The outputs that a request of v2 wants, and for each whether it comes as binary data; `id` is the request's."""

    card: ModelCard
    top_k: int
    id: str | None
    binary: Mapping[str, bool]

    def write(self, results: list[Result]) -> Response:
        """Tensors have no place for an error: one bad image refuses the request, and the message says which."""
        answers = []
        for i, result in enumerate(results):
            if isinstance(result, RequestError):
                return _refuse(type(result)(f"Image {i}: {result}") if len(results) > 1 else result)
            answers.append(to_json(result))
        document: dict[str, Any] = {"model_name": self.card.name, "model_version": self.card.version}
        if self.id is not None:
            document["id"] = self.id
        tensors, binary = write_outputs(answers, self.binary, self.top_k, self.card.task)
        text = encode(document | {"outputs": tensors})
        if not any(self.binary.values()):
            return Response(HTTPStatus.OK, text)
        return Response(HTTPStatus.OK, text + binary, "application/octet-stream", {JSON_LENGTH: str(len(text))})


def _refuse(error: RequestError) -> Response:
    """Answer a request of v1 or v2 that cannot be served as a whole."""
    return Response(error.status, encode({"error": str(error)}))


def _id_of(document: Mapping[str, Any]) -> str | None:
    found = document.get("id")
    if not isinstance(found, str | None):
        raise BadRequest(f"The id is not a text; it is {shown(found)}.")
    if found is not None and len(found) > MAX_ID:
        raise PayloadTooLarge(f"The id has {len(found):,} characters and the limit is {MAX_ID:,}: send a shorter one.")
    return found


def _wanted(document: Mapping[str, Any], all_binary: bool) -> dict[str, bool]:
    """Find which outputs a request wants, all if it names none, and whether each comes as binary data."""
    wanted = document.get("outputs") or [{"name": name} for name in OUTPUTS]
    if isinstance(wanted, list) and len(wanted) > len(OUTPUTS):
        raise BadRequest(f"The request wants {len(wanted):,} outputs and there are {len(OUTPUTS)}: name each once.")
    if not isinstance(wanted, list) or not all(isinstance(output, dict) for output in wanted):
        raise BadRequest('The outputs are not a list of objects: send {"name": ...} for each.')
    outputs = {}
    for output in wanted:
        name, parameters = output.get("name"), _object(output, "parameters")
        if not isinstance(name, str) or name not in OUTPUTS:
            raise BadRequest(f"There is no output {shown(name)}: {', '.join(OUTPUTS)} are the ones there are.")
        if "classification" in parameters:
            raise BadRequest("The outputs are classes already: ask for several with the request's parameter top_k.")
        outputs[name] = _flag(parameters.get("binary_data", all_binary), "binary_data")
    return outputs


def _object(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name) or {}
    if not isinstance(value, dict):
        raise BadRequest(f"The {name} are not an object; they are {shown(value)}.")
    return value


def _flag(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise BadRequest(f"{name} must be true or false; it is {shown(value)}.")
    return value


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
