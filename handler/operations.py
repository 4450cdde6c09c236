"""What a request asks of the model: to predict an image's classes, or to explain a class on it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from handler.answers import Answer, Explanation, Response, Result, Writer, respond
from handler.errors import BadRequest, RequestError
from handler.explanations import Head, paint, rounded
from handler.labels import Labels, ranked
from handler.parameters import EXPLANATION, OVERLAY, PREDICTION, read_all, shown
from handler.settings import Settings

PNG = "image/png"

# An encoded file, pixels ready for the model (uint8 HWC), or the error that says why there is neither.
ImageInput = bytes | bytearray | NDArray[np.uint8] | RequestError


@dataclass(frozen=True)
class Inferred:
    """What the model made of one image.

    The image's pixels (side, side, 3), its probabilities (classes,) and, for operations that need them, its features
    (channels, h, w).
    """

    pixels: NDArray[np.uint8]
    probabilities: NDArray[np.float64]
    features: NDArray[np.float32]


@dataclass(frozen=True)
class Chosen:
    """The parameters of one request: what it chose, and the archive's defaults for the rest."""

    top_k: int
    min_probability: float
    class_index: int | None = None  # of the class to explain; None for each image's best
    overlay: float = OVERLAY  # share of the colors, 0 to 1


@dataclass(frozen=True)
class Operation(ABC):
    labels: Labels
    settings: Settings
    known_parameters: ClassVar[tuple[str, ...]]
    needs_features: ClassVar[bool]

    def choose(self, given: Mapping[str, Any]) -> Chosen:
        """Check the parameters that a request gives. Raises BadRequest."""
        values, classes = read_all(given, self.known_parameters), len(self.labels)
        index = None
        if (class_id := values.pop("class_id", None)) is not None and (index := self.labels.index(class_id)) is None:
            example = self.labels[0][0]
            raise BadRequest(f"The model has no class {shown(class_id)}: class_id is one such as {example}.")
        # A model with fewer classes lists all it has, so one client can ask models of any size.
        top_k = min(values.pop("top_k", self.settings.top_k), classes)
        threshold = self.settings.threshold(classes, self.labels.task)
        return Chosen(top_k, values.pop("min_probability", threshold), index, **values)

    @abstractmethod
    def answer(self, inferred: Inferred, chosen: Chosen) -> Answer | Explanation:
        """Answer one image."""

    def writer(self, images: int, headers: Mapping[str, Any]) -> Writer:  # noqa: ARG002 - of interest to others
        """Choose the form in which TorchServe's own addresses answer. Raises BadRequest if the client's cannot be."""
        return respond


class Predict(Operation):
    """The best classes of an image, or with a multi-label model all that are on it."""

    known_parameters = PREDICTION
    needs_features = False

    def answer(self, inferred: Inferred, chosen: Chosen) -> Answer:
        if self.labels.task == "multi-label":
            there = self.labels.at_least(inferred.probabilities, chosen.min_probability)
            [best] = self.labels.top_k(inferred.probabilities, 1)
            return Answer.of(best, bool(there), there)
        listed = self.labels.top_k(inferred.probabilities, chosen.top_k)
        recognized = listed[0].probability >= chosen.min_probability
        return Answer.of(listed[0], recognized, listed if chosen.top_k > 1 else None)


@dataclass(frozen=True)
class Explain(Operation):
    """A class of an image, a picture of what speaks for it, and the same as numbers for every class that is listed.

    Answered as JSON with the picture as base64, or with `Accept: image/png` as the picture alone.
    """

    head: Head | None  # None for a model whose head is not one linear layer
    known_parameters = EXPLANATION
    needs_features = True

    def answer(self, inferred: Inferred, chosen: Chosen) -> Explanation:
        probabilities, head = inferred.probabilities, self._linear()
        index = int(probabilities.argmax()) if chosen.class_index is None else chosen.class_index
        listed = Predict(self.labels, self.settings).answer(inferred, chosen).predictions if chosen.top_k > 1 else None
        outputs = [index, *ranked(probabilities, len(listed or ()))]
        activations = head.activation(inferred.features, outputs)
        explained = self.labels.predict(probabilities, index)
        return Explanation(
            explained.class_id,
            explained.class_name,
            explained.probability,
            bool(probabilities.max() >= chosen.min_probability),
            paint(inferred.pixels, activations[0], chosen.overlay),
            {self.labels[i][0]: rows for i, rows in zip(outputs, rounded(activations), strict=True)},
            listed,
        )

    def writer(self, images: int, headers: Mapping[str, Any]) -> Writer:
        self._linear()  # before the image is decoded
        accepted = next((value for name, value in headers.items() if name.lower() == "accept"), "")
        if PNG not in str(accepted).lower():
            return respond
        if images > 1:
            raise BadRequest(f"One {PNG} shows one image, and the request has several: ask for application/json.")
        return _write_png

    def _linear(self) -> Head:
        if self.head is None:
            raise BadRequest("This model gives no heatmaps because its head has hidden layers: ask for a prediction.")
        return self.head


def _write_png(results: list[Result]) -> Response:
    [result] = results
    return Response(HTTPStatus.OK, result.overlay, PNG) if isinstance(result, Explanation) else respond(results)


@dataclass(frozen=True)
class ImageRequest:
    """One row of a batch: its images in the order sent, what is asked of them, and how it is answered."""

    images: tuple[ImageInput, ...]
    chosen: Chosen
    operation: Operation
    write: Writer

    @property
    def needs_features(self) -> bool:
        return self.operation.needs_features

    def results(self, outcomes: Sequence[Inferred | RequestError]) -> list[Result]:
        """Answer each of its images; `outcomes` has one item for each."""
        return [
            outcome if isinstance(outcome, RequestError) else self.operation.answer(outcome, self.chosen)
            for outcome in outcomes
        ]


@dataclass(frozen=True)
class RefusedRequest:
    """A request that makes no sense as a whole: it has no image, and its one result is the error."""

    error: RequestError
    write: Writer
    images: tuple[ImageInput, ...] = ()
    needs_features: bool = False

    def results(self, outcomes: Sequence[Inferred | RequestError]) -> list[Result]:  # noqa: ARG002 - there are none
        return [self.error]


Request = ImageRequest | RefusedRequest
