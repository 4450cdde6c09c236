"""The output tensors of the Open Inference Protocol v2: which ones a request wants, and how they are written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from handler.card import ModelCard, Task
from handler.errors import BadRequest, RequestError
from handler.parameters import shown
from handler.protocols.tensors import Datatype, to_binary
from handler.responses import Response, Result, encode

# Says how many bytes of a body are the JSON that binary tensors follow.
JSON_LENGTH = "Inference-Header-Content-Length"
OUTPUTS: dict[str, Datatype] = {"class_id": "BYTES", "class_name": "BYTES", "probability": "FP32", "recognized": "BOOL"}


@dataclass(frozen=True)
class OutputTensors:
    """The outputs that a request wants, and for each whether it comes as binary data; `id` is the request's own."""

    card: ModelCard
    top_k: int
    id: str | None
    binary: Mapping[str, bool]

    def write(self, results: list[Result]) -> Response:
        """Tensors have no place for an error: one bad image refuses the request, and the message says which."""
        answers = []
        for i, result in enumerate(results):
            if isinstance(result, RequestError):
                return refuse(type(result)(f"Image {i}: {result}") if len(results) > 1 else result)
            answers.append(result)
        document: dict[str, Any] = {"model_name": self.card.name, "model_version": self.card.version}
        if self.id is not None:
            document["id"] = self.id
        tensors, binary = self._tensors(answers)
        text = encode(document | {"outputs": tensors})
        if not any(self.binary.values()):
            return Response(HTTPStatus.OK, text)
        return Response(HTTPStatus.OK, text + binary, "application/octet-stream", {JSON_LENGTH: str(len(text))})

    def _tensors(self, answers: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], bytes]:
        tensors, binary = [], b""
        for name, is_binary in self.binary.items():
            shape, values = _values(name, answers, self.top_k, self.card.task)
            tensor: dict[str, Any] = {"name": name, "datatype": OUTPUTS[name], "shape": shape}
            if is_binary:
                written = to_binary(values, OUTPUTS[name])
                tensor["parameters"] = {"binary_data_size": len(written)}
                binary += written
            else:
                tensor["data"] = values
            tensors.append(tensor)
        return tensors, binary


def refuse(error: RequestError) -> Response:
    """Answer a request of v1 or v2 that cannot be served as a whole."""
    return Response(error.status, encode({"error": str(error)}))


def read_outputs(document: Mapping[str, Any], all_binary: bool) -> dict[str, bool]:
    """Find which outputs a request wants, all if it names none, and whether each comes as binary data."""
    wanted = document.get("outputs") or [{"name": name} for name in OUTPUTS]
    if isinstance(wanted, list) and len(wanted) > len(OUTPUTS):
        raise BadRequest(f"The request wants {len(wanted):,} outputs and there are {len(OUTPUTS)}: name each once.")
    if not isinstance(wanted, list) or not all(isinstance(output, dict) for output in wanted):
        raise BadRequest('The outputs are not a list of objects: send {"name": ...} for each.')
    outputs = {}
    for output in wanted:
        name, parameters = output.get("name"), read_object(output, "parameters")
        if not isinstance(name, str) or name not in OUTPUTS:
            raise BadRequest(f"There is no output {shown(name)}: {', '.join(OUTPUTS)} are the ones there are.")
        if "classification" in parameters:
            raise BadRequest("The outputs are classes already: ask for several with the request's parameter top_k.")
        outputs[name] = read_flag(parameters.get("binary_data", all_binary), "binary_data")
    return outputs


def read_object(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name) or {}
    if not isinstance(value, dict):
        raise BadRequest(f"The {name} are not an object; they are {shown(value)}.")
    return value


def read_flag(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise BadRequest(f"{name} must be true or false; it is {shown(value)}.")
    return value


def _values(name: str, answers: list[dict[str, Any]], top_k: int, task: Task) -> tuple[list[int], list[Any]]:
    """Shape and flat values of an output: [N, top_k] if several predictions an image were asked for, else [N].

    A multi-label model's are [N, most classes on one of the images]; a row with fewer ends in empty ones.
    """
    if task == "multi-label" and name != "recognized":
        rows = [[prediction[name] for prediction in answer["predictions"]] for answer in answers]
        width = max(map(len, rows))
        padding = 0.0 if OUTPUTS[name] == "FP32" else ""
        return [len(answers), width], [value for row in rows for value in [*row, *[padding] * (width - len(row))]]
    if name == "recognized" or top_k == 1:
        # Bytes cannot be null: an image that is not recognized has an empty class.
        return [len(answers)], ["" if answer[name] is None else answer[name] for answer in answers]
    return [len(answers), top_k], [prediction[name] for answer in answers for prediction in answer["predictions"]]
