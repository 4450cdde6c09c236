"""Which address a request was sent to. TorchServe keeps the path to itself; its headers give it away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import Any


class Address(Enum):
    PREDICTIONS = auto()  # /predictions/NAME, /models/NAME/invoke and gRPC
    EXPLANATIONS = auto()  # /explanations/NAME
    INFERENCE = auto()  # /v1/models/NAME:predict and /v2/models/NAME/infer


def recognize(headers: Mapping[str, Any]) -> Address:
    """Tell an address by the headers that TorchServe 0.12 adds.

    /predictions and /explanations share a queue and have `explain` and `url_path`, /v1 and /v2 have `explain` alone,
    and /models/NAME/invoke has neither.
    """
    names = {name.lower() for name in headers}
    if "explain" in names and "url_path" not in names:
        return Address.INFERENCE
    return Address.EXPLANATIONS if headers.get("explain") == "True" else Address.PREDICTIONS


def asks_for_card(rows: Sequence[Mapping[str, Any]], headers: Sequence[Mapping[str, Any]]) -> bool:
    """Recognize `GET /models/NAME?customized=true`, which comes alone, as an empty row with a header of its own."""
    return len(rows) == 1 and not rows[0] and headers[0].get("describe") == "True"
