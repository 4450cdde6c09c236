"""POST /explanations/NAME: the road of a prediction, and a picture of what it rests on.

a photo                          -> {"class_id": ..., "probability": ..., "overlay": "<base64 of a PNG>"}
a photo, with Accept: image/png  -> the PNG itself
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from handler import responses
from handler.errors import BadRequest, RequestError
from handler.labels import Labels
from handler.parameters import EXPLANATION, shown
from handler.payload import ImageRequest, parse
from handler.responses import Response, Result
from handler.settings import Settings

PNG = "image/png"


@dataclass(frozen=True)
class ExplanationRequest(ImageRequest):
    """`index` is the class to explain, or None for each image's best; `as_png` asks for the picture alone."""

    index: int | None
    as_png: bool


@dataclass(frozen=True)
class ExplanationProtocol:
    settings: Settings
    labels: Labels

    @staticmethod
    def is_spoken(headers: Mapping[str, Any]) -> bool:
        """Recognise TorchServe's /explanations, which shares its queue with /predictions, by the mark it gets there."""
        return headers.get("explain") == "True"

    def parse(self, row: Mapping[str, Any], headers: Mapping[str, Any]) -> ExplanationRequest:
        request = parse(row, headers, self.settings, len(self.labels), EXPLANATION)
        accepts = next((value for name, value in headers.items() if name.lower() == "accept"), "")
        as_png = PNG in str(accepts).lower()
        if as_png and len(request.images) > 1:
            raise BadRequest(f"One {PNG} shows one image, and the request has several: ask for application/json.")
        return ExplanationRequest(request.images, request.parameters, self._index(request.parameters.class_id), as_png)

    def _index(self, class_id: str | None) -> int | None:
        if class_id is None:
            return None
        index = self.labels.index(class_id)
        if index is None:
            raise BadRequest(f"The model has no class {shown(class_id)}: class_id is one such as {self.labels[0][0]}.")
        return index

    def respond(self, request: ImageRequest, results: list[Result]) -> Response:
        first = results[0]
        if isinstance(request, ExplanationRequest) and request.as_png and not isinstance(first, RequestError):
            return Response(HTTPStatus.OK, first["overlay"], PNG)
        return responses.respond(
            [result if isinstance(result, RequestError) else _as_json(result) for result in results]
        )

    def refuse(self, error: RequestError) -> Response:
        return responses.refuse(error)


def _as_json(result: dict[str, Any]) -> dict[str, Any]:
    return result | {"overlay": base64.b64encode(result["overlay"]).decode()}
