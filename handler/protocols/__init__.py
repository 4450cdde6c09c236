"""How requests are read and answered at each of TorchServe's addresses.

TorchServe keeps the path to itself, so a protocol recognizes its requests by the headers that TorchServe adds. To add a
protocol, write its file here and name its class in `load_protocols`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from handler.answers import Response, Result
from handler.card import ModelCard
from handler.operations import Explain, Predict, Request
from handler.protocols.inference import InferenceProtocols
from handler.protocols.torchserve import TorchServeProtocol


class RequestProtocol(Protocol):
    def recognizes(self, headers: Mapping[str, Any]) -> bool:
        """Say whether a request with these headers is one of this protocol."""

    def read(self, row: Mapping[str, Any], headers: Mapping[str, Any]) -> Request:
        """Find what one row asks. Raises RequestError if it makes no sense as a whole."""

    def write(self, results: list[Result]) -> Response:
        """Answer a request in the protocol's usual form, which a refusal has too."""


def load_protocols(card: ModelCard, predict: Predict, explain: Explain) -> Sequence[RequestProtocol]:
    """Return all protocols; the first that recognizes a request reads it, and the last one recognizes all."""
    return InferenceProtocols(card, predict), TorchServeProtocol(predict, explain)


def asks_for_card(rows: Sequence[Mapping[str, Any]], headers: Sequence[Mapping[str, Any]]) -> bool:
    """Recognize `GET /models/NAME?customized=true`, which comes alone, as an empty row with a header of its own."""
    return len(rows) == 1 and not rows[0] and headers[0].get("describe") == "True"
