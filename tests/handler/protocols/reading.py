"""What the tests of handler/protocols/torchserve.py share: requests, and what is read of them."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from handler.errors import BadRequest
from handler.labels import Labels
from handler.operations import Chosen, Explain, ImageRequest, Predict
from handler.protocols.torchserve import TorchServeProtocol
from handler.settings import Settings

SETTINGS = Settings(max_images=3)
LABELS = Labels([(f"n{i}", f"class {i}") for i in range(1000)])
PREDICT = Predict(LABELS, SETTINGS)
EXPLAIN = Explain(LABELS, SETTINGS, None)
PROTOCOL = TorchServeProtocol(PREDICT, EXPLAIN)
JSON_HEADERS = {"Content-Type": "application/json"}
FORM_HEADERS = {"Content-Type": "multipart/form-data; boundary=x"}
DEFAULTS = Chosen(top_k=1, min_probability=0.2)


def read(row: dict[str, Any], headers: dict[str, Any] | None = None) -> ImageRequest:
    return PROTOCOL.read(row, headers or {})


def b64(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


def message_of(row: dict[str, Any], headers: dict[str, Any] | None = None) -> str:
    with pytest.raises(BadRequest) as caught:
        read(row, headers)
    return str(caught.value)


DOCUMENT = {"instances": [b64(b"one"), b64(b"two")], "parameters": {"top_k": 5, "min_probability": 0.5}}
READ = ((b"one", b"two"), Chosen(5, 0.5))


def found(row: dict[str, Any], headers: dict[str, Any] | None = None) -> tuple[tuple[Any, ...], Chosen]:
    request = read(row, headers)
    return request.images, request.chosen
