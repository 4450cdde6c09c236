"""What every protocol does: it reads a row of a batch, and knows how to refuse one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from handler.requests import Request
from handler.responses import Response, Result


class RequestProtocol(Protocol):
    def read(self, row: Mapping[str, Any], headers: Mapping[str, Any]) -> Request:
        """Find what one row asks. Raises RequestError if it makes no sense as a whole."""

    def write(self, results: list[Result]) -> Response:
        """Answer a request in the protocol's usual form, which a refusal has too."""
