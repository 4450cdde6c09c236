"""Requests of v1 and v2 as TorchServe hands them on, and a handler that is asked them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handler.classifier import ImageClassifier
from tests.worker import FakeContext, Headers

# What TorchServe 0.12 adds to the headers of /v1 and /v2.
ADDRESS = {"explain": "False"}
OWN_ADDRESS = {"explain": "False", "url_path": ""}
EXPLAIN = {"explain": "True", "url_path": ""}
SIDE = 224


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def infer(*images: bytes, **fields: Any) -> dict[str, Any]:
    tensor = {"name": "image", "shape": [len(images)], "datatype": "BYTES", "data": [b64(image) for image in images]}
    return {"inputs": [tensor]} | fields


def predict(*images: bytes, **fields: Any) -> dict[str, Any]:
    return {"instances": [{"b64": b64(image)} for image in images]} | fields


def names(answer: Any) -> Any:
    """Return the class of an answer, or its code, of each image."""
    if isinstance(answer, list):
        return [names(item) for item in answer]
    return answer["error"]["code"] if "error" in answer else answer.get("class_name", answer.get("code"))


def ready(*colours: tuple[int, int, int]) -> NDArray[np.uint8]:
    return np.stack([np.full((SIDE, SIDE, 3), colour, np.uint8) for colour in colours])


class Asker:
    """One handler, asked whole batches; keeps the context of the last."""

    def __init__(self, handler: ImageClassifier, folder: Path) -> None:
        self.handler, self.folder = handler, folder

    def batch(self, rows: list[dict[str, Any]], headers: list[Headers]) -> list[bytes]:
        self.context = FakeContext(self.folder, headers)
        return self.handler.handle(list(rows), self.context)

    def own(self, rows: list[dict[str, Any]], headers: list[Headers] | None = None) -> list[Any]:
        """Ask a batch whose answers are all JSON: of the server's own addresses if the headers say no other."""
        answers = self.batch(rows, headers or [])
        assert self.context.content_types == dict.fromkeys(range(len(rows)), "application/json")
        return [json.loads(answer) for answer in answers]

    @property
    def statuses(self) -> list[int]:
        return [self.context.statuses[i] for i in range(len(self.context.statuses))]

    def __call__(self, body: Any, headers: Headers | None = None) -> Any:
        return self.own([{"body": body}], [ADDRESS | (headers or {})])[0]

    def refusal(self, body: Any, status: int, headers: Headers | None = None) -> str:
        answer = self(body, headers)
        assert self.context.statuses == {0: status}
        assert set(answer) == {"error"}
        message: str = answer["error"]
        assert message.endswith(".")
        return message
