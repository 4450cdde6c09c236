"""TorchServe's own addresses: a photo, a form or JSON in; an object for one image out, a list for several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from handler import responses
from handler.operations import Operation
from handler.payload import parse
from handler.requests import ImageRequest
from handler.responses import Response, Result
from handler.settings import Settings


@dataclass(frozen=True)
class TorchServeProtocol:
    settings: Settings
    operation: Operation

    def read(self, row: Mapping[str, Any], headers: Mapping[str, Any]) -> ImageRequest:
        payload = parse(row, headers, self.settings, self.operation.labels, self.operation.known_parameters)
        write = self.operation.writer(payload, headers)
        return ImageRequest(payload.images, payload.parameters, self.operation, write)

    def write(self, results: list[Result]) -> Response:
        return responses.respond(results)
