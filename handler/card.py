"""The model card: what this model is, where its weights came from and how it expects its images."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self, get_args

from handler.errors import ArchiveError

CARD_FILE = "model-card.json"
Interpolation = Literal["bilinear", "bicubic"]
# Of the classes either one is true, and a softmax gives their probabilities, or each is by itself (sigmoid).
Task = Literal["single-label", "multi-label"]


@dataclass(frozen=True)
class Preprocessing:
    """The preprocessing numbers, which are kept here and nowhere else.

    `resize` is the length of the shorter side and `crop` the side of the center crop, in pixels;
    `mean` and `std` are per RGB channel, for values in 0..1.
    """

    resize: int
    crop: int
    interpolation: Interpolation
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        if not 0 < self.crop <= self.resize:
            raise ArchiveError(f"The crop ({self.crop}) must be between 1 and the resize ({self.resize}).")
        if min(self.std) <= 0:
            raise ArchiveError(f"Each std must be greater than 0, not {self.std}.")
        if self.interpolation not in ("bilinear", "bicubic"):
            raise ArchiveError(f"The interpolation must be bilinear or bicubic, not {self.interpolation!r}.")


@dataclass(frozen=True)
class Accuracy:
    """Shares of images, in 0..1, whose class is the best prediction, or one of the best five."""

    top1: float
    top5: float
    evaluated_on: str


@dataclass(frozen=True)
class Weights:
    """Where the checkpoint came from: a plain description, its SHA-256 and its license.

    What follows is None unless the checkpoint itself says it. The graph's logits are already divided by `temperature`.
    """

    source: str
    sha256: str
    license: str
    training: str | None = None
    accuracy: Accuracy | None = None
    temperature: float | None = None

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Read a card of this version or another: unknown fields are left out, optional ones may be missing."""
        known = {field.name: fields[field.name] for field in dataclasses.fields(cls) if field.name in fields}
        if known.get("accuracy"):
            known["accuracy"] = Accuracy(**known["accuracy"])
        return cls(**known)


@dataclass(frozen=True)
class ModelCard:
    """`quantization` is None unless the OpenVINO graph is int8: how it was made, and how far its answers are f32's."""

    name: str
    version: str
    architecture: str
    classes: int
    weights: Weights
    preprocessing: Preprocessing
    built_with: dict[str, str]
    quantization: dict[str, Any] | None = None
    heatmaps: bool = True  # whether the head is one linear layer, which explanations need
    task: Task = "single-label"

    def __post_init__(self) -> None:
        if self.task not in get_args(Task):
            raise ArchiveError(f"The task must be {' or '.join(get_args(Task))}, not {self.task!r}.")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        preprocessing = fields["preprocessing"] | {key: tuple(fields["preprocessing"][key]) for key in ("mean", "std")}
        nested = {"weights": Weights.from_dict(fields["weights"]), "preprocessing": Preprocessing(**preprocessing)}
        return cls(**(fields | nested))

    def write(self, folder: Path) -> None:
        (folder / CARD_FILE).write_text(json.dumps(self.to_dict(), indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the card from an unpacked archive. Raises ArchiveError if its fields do not fit."""
        try:
            return cls.from_dict(json.loads((folder / CARD_FILE).read_text()))
        except (KeyError, TypeError, ValueError) as error:
            raise ArchiveError(f"The model card does not fit this handler ({error}): rebuild the archive.") from error
