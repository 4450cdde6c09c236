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
from handler.errors import BadRequest, RequestError
from handler.parameters import PREDICTION, check_names, choose, in_headers, shown
from handler.payload import BODY_FIELDS, ImageRequest, parse, read_json
from handler.protocols.tensors import Datatype, read_images, to_binary
from handler.responses import Response, Result, describe_error, encode
from handler.settings import Settings

# Says how many bytes of a body are the JSON that binary tensors follow.
JSON_LENGTH = "Inference-Header-Content-Length"
OUTPUTS: dict[str, Datatype] = {"class_id": "BYTES", "class_name": "BYTES", "probability": "FP32", "recognized": "BOOL"}

FORMS = (
    '{"instances": [{"b64": "<base64 of the photo>"}]} (v1) or {"inputs": [{"name": "image", "datatype": "BYTES", '
    '"shape": [1], "data": ["<base64 of the photo>"]}]} (v2), as application/json'
)


@dataclass(frozen=True)
class InferRequest(ImageRequest):
    """A request of v2: its id, and whether each output it wants comes as binary data."""

    id: str | None
    outputs: Mapping[str, bool]


@dataclass(frozen=True)
class InferenceProtocols:
    """Both protocols: they share their addresses' mark and the form of their errors; their JSON tells them apart."""

    settings: Settings
    card: ModelCard

    @staticmethod
    def are_spoken(headers: Mapping[str, Any]) -> bool:
        """Recognise their addresses.

        The path itself stays in TorchServe, but it marks /predictions with the headers `explain` and `url_path`,
        /v1 and /v2 with `explain` only, and /models/NAME/invoke with neither.
        """
        names = {name.lower() for name in headers}
        return "explain" in names and "url_path" not in names

    def parse(self, row: Mapping[str, Any], headers: Mapping[str, Any]) -> ImageRequest:
        """Read one row. Raises BadRequest or PayloadTooLarge where the request as a whole makes no sense."""
        document, binary = _split(row, headers)
        if "inputs" in document:
            return self._infer_request(document, binary, headers)
        if "instances" in document:
            return parse({"body": document}, headers, self.settings, self.card.classes, PREDICTION)
        raise BadRequest(f"The JSON has neither instances nor inputs: send {FORMS}.")

    def _infer_request(self, document: dict[str, Any], binary: bytes, headers: Mapping[str, Any]) -> InferRequest:
        inputs = document["inputs"]
        if not isinstance(inputs, list) or len(inputs) != 1:
            raise BadRequest("The inputs are not a list of one tensor: put all images of a request into one.")
        request_id = document.get("id")
        if not isinstance(request_id, str | None):
            raise BadRequest(f"The id is not a text; it is {shown(request_id)}.")
        given = dict(_object(document, "parameters"))
        all_binary = _flag(given.pop("binary_data_output", False), "binary_data_output")
        check_names(given, PREDICTION)
        return InferRequest(
            images=read_images(inputs[0], binary, self.settings, self.card.preprocessing.crop),
            parameters=choose(in_headers(headers, PREDICTION) | given, self.settings, self.card.classes),
            id=request_id,
            outputs=_outputs_of(document, all_binary),
        )

    def respond(self, request: ImageRequest, results: list[Result]) -> Response:
        if isinstance(request, InferRequest):
            return self._infer_response(request, results)
        errors = [result for result in results if isinstance(result, RequestError)]
        if len(errors) == len(results):
            return self.refuse(errors[0])
        items = [{"error": describe_error(r)} if isinstance(r, RequestError) else r for r in results]
        return Response(HTTPStatus.OK, encode({"predictions": items}))

    def _infer_response(self, request: InferRequest, results: list[Result]) -> Response:
        """Tensors have no place for an error: one bad image refuses the request, and the message says which."""
        answers = []
        for i, result in enumerate(results):
            if isinstance(result, RequestError):
                return self.refuse(type(result)(f"Image {i}: {result}") if len(results) > 1 else result)
            answers.append(result)
        document: dict[str, Any] = {"model_name": self.card.name, "model_version": self.card.version}
        if request.id is not None:
            document["id"] = request.id
        document["outputs"] = []
        binary = b""
        for name, is_binary in request.outputs.items():
            shape, values = _tensor(name, answers, request.parameters.top_k)
            tensor: dict[str, Any] = {"name": name, "datatype": OUTPUTS[name], "shape": shape}
            if is_binary:
                written = to_binary(values, OUTPUTS[name])
                tensor["parameters"] = {"binary_data_size": len(written)}
                binary += written
            else:
                tensor["data"] = values
            document["outputs"].append(tensor)
        text = encode(document)
        if not any(request.outputs.values()):
            return Response(HTTPStatus.OK, text)
        return Response(HTTPStatus.OK, text + binary, "application/octet-stream", {JSON_LENGTH: str(len(text))})

    def refuse(self, error: RequestError) -> Response:
        return Response(error.status, encode({"error": str(error)}))


def _split(row: Mapping[str, Any], headers: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Cut a body into its JSON and the binary data behind it; TorchServe has decoded it where it was all JSON."""
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


def _object(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name) or {}
    if not isinstance(value, dict):
        raise BadRequest(f"The {name} are not an object; they are {shown(value)}.")
    return value


def _flag(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise BadRequest(f"{name} must be true or false; it is {shown(value)}.")
    return value


def _outputs_of(document: Mapping[str, Any], all_binary: bool) -> dict[str, bool]:
    """Which outputs a request wants, all where it names none, and whether each comes as binary data."""
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


def _tensor(name: str, answers: list[dict[str, Any]], top_k: int) -> tuple[list[int], list[Any]]:
    """Shape and flat values of an output: [N, top_k] where several predictions an image were asked for, else [N]."""
    if name == "recognized" or top_k == 1:
        # Bytes cannot be null: an image that is not recognized has an empty class.
        return [len(answers)], ["" if answer[name] is None else answer[name] for answer in answers]
    return [len(answers), top_k], [prediction[name] for answer in answers for prediction in answer["predictions"]]
