"""The protocol of TorchServe's own addresses, with a limit of three images."""

from __future__ import annotations

from typing import Any

from handler.labels import Labels
from handler.operations import Explain, ImageRequest, Predict
from handler.protocols.torchserve import TorchServeProtocol
from handler.settings import Settings

SETTINGS = Settings(max_images=3)
LABELS = Labels([(f"n{i}", f"class {i}") for i in range(1000)])
PREDICT = Predict(LABELS, SETTINGS)
EXPLAIN = Explain(LABELS, SETTINGS, None)
JSON_HEADERS = {"Content-Type": "application/json"}


def read(row: dict[str, Any], headers: dict[str, Any] | None = None) -> ImageRequest:
    return TorchServeProtocol(PREDICT, EXPLAIN).read(row, headers or {})
