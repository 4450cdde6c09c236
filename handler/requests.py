"""One row of a batch: its images, what is asked of them, and how it is answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from handler.errors import RequestError
from handler.operations import Inferred, Operation
from handler.parameters import Parameters
from handler.payload import ImageInput
from handler.responses import Result, Writer


@dataclass(frozen=True)
class ImageRequest:
    images: tuple[ImageInput, ...]
    parameters: Parameters
    operation: Operation
    write: Writer

    @property
    def needs_features(self) -> bool:
        return self.operation.needs_features

    def results(self, outcomes: Sequence[Inferred | RequestError]) -> list[Result]:
        """Answer each of its images; `outcomes` has one item for each."""
        return [
            outcome if isinstance(outcome, RequestError) else self.operation.answer(outcome, self.parameters)
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
