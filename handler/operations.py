"""What a request may ask of the model: to predict an image's class, or to explain a class on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from handler import responses
from handler.errors import BadRequest, RequestError
from handler.explanations import Head, paint, rounded
from handler.labels import Labels, ranked
from handler.parameters import EXPLANATION, PREDICTION, Parameters
from handler.payload import Payload
from handler.responses import Response, Result, Writer

PNG = "image/png"


@dataclass(frozen=True)
class Inferred:
    """What the model made of one image.

    The image's pixels (side, side, 3), its probabilities (classes,) and, for operations that need them, its features
    (channels, h, w).
    """

    pixels: NDArray[np.uint8]
    probabilities: NDArray[np.float64]
    features: NDArray[np.float32]


class Operation(Protocol):
    known_parameters: ClassVar[tuple[str, ...]]
    needs_features: ClassVar[bool]

    @property
    def labels(self) -> Labels: ...

    def answer(self, inferred: Inferred, parameters: Parameters) -> dict[str, Any]:
        """Return the fields that answer one image."""

    def writer(self, payload: Payload, headers: Mapping[str, Any]) -> Writer:
        """Choose the form in which TorchServe's own addresses answer. Raises BadRequest if the client's cannot be."""


@dataclass(frozen=True)
class Predict:
    """The best classes of an image, or with a multi-label model all that are on it."""

    labels: Labels
    known_parameters: ClassVar[tuple[str, ...]] = PREDICTION
    needs_features: ClassVar[bool] = False

    def answer(self, inferred: Inferred, parameters: Parameters) -> dict[str, Any]:
        if self.labels.task == "multi-label":
            there = self.labels.at_least(inferred.probabilities, parameters.min_probability)
            [best] = self.labels.top_k(inferred.probabilities, 1)
            return responses.findings(there, best)
        return responses.prediction(self.labels.top_k(inferred.probabilities, parameters.top_k), parameters)

    def writer(self, payload: Payload, headers: Mapping[str, Any]) -> Writer:  # noqa: ARG002 - always JSON
        return responses.respond


@dataclass(frozen=True)
class Explain:
    """A class of an image, a picture of what speaks for it, and the same as numbers for every class that is listed.

    Answered as JSON with the picture as base64, or with `Accept: image/png` as the picture alone.
    """

    labels: Labels
    head: Head | None  # None for a model whose head is not one linear layer
    known_parameters: ClassVar[tuple[str, ...]] = EXPLANATION
    needs_features: ClassVar[bool] = True

    def answer(self, inferred: Inferred, parameters: Parameters) -> dict[str, Any]:
        probabilities, chosen = inferred.probabilities, parameters.class_index
        index = int(probabilities.argmax()) if chosen is None else chosen
        head, explained = self._linear(), self.labels.predict(probabilities, index)
        listed = Predict(self.labels).answer(inferred, parameters)["predictions"] if parameters.top_k > 1 else []
        activations = {i: head.activation(inferred.features, i) for i in (index, *ranked(probabilities, len(listed)))}
        overlay = paint(inferred.pixels, activations[index], parameters.overlay)
        maps = {self.labels[i][0]: rounded(activation) for i, activation in activations.items()}
        return responses.explanation(explained, probabilities.max(), parameters, overlay, maps, listed)

    def writer(self, payload: Payload, headers: Mapping[str, Any]) -> Writer:
        self._linear()  # before the image is decoded
        accepted = next((value for name, value in headers.items() if name.lower() == "accept"), "")
        if PNG not in str(accepted).lower():
            return responses.respond
        if len(payload.images) > 1:
            raise BadRequest(f"One {PNG} shows one image, and the request has several: ask for application/json.")
        return _write_png

    def _linear(self) -> Head:
        if self.head is None:
            raise BadRequest("This model gives no heatmaps because its head has hidden layers: ask for a prediction.")
        return self.head


def _write_png(results: list[Result]) -> Response:
    [result] = results
    if isinstance(result, RequestError):
        return responses.respond(results)
    return Response(HTTPStatus.OK, result["overlay"], PNG)
