"""How a request is read and answered: a protocol is a way of asking together with the answers it expects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from handler import responses
from handler.errors import RequestError
from handler.parameters import PREDICTION
from handler.payload import ImageRequest, parse
from handler.responses import Response, Result
from handler.settings import Settings


class RequestProtocol(Protocol):
    def parse(self, row: Mapping[str, Any], headers: Mapping[str, Any]) -> ImageRequest:
        """Find the images and parameters in one row of a batch. Raises RequestError."""

    def respond(self, request: ImageRequest, results: list[Result]) -> Response:
        """Answer what `parse` returned, with one result for each of its images."""

    def refuse(self, error: RequestError) -> Response:
        """Answer a request that cannot be served as a whole."""


@dataclass(frozen=True)
class OwnProtocol:
    """The project's own: a photo, a form or JSON in, an object or a list out."""

    settings: Settings
    classes: int

    def parse(self, row: Mapping[str, Any], headers: Mapping[str, Any]) -> ImageRequest:
        return parse(row, headers, self.settings, self.classes, PREDICTION)

    def respond(self, request: ImageRequest, results: list[Result]) -> Response:  # noqa: ARG002 - the form is always the same
        return responses.respond(results)

    def refuse(self, error: RequestError) -> Response:
        return responses.refuse(error)
