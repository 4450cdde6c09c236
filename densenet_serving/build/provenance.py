"""The provenance in a checkpoint that this project trained: its teacher, its data and its accuracy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self, TypeVar

from safetensors import SafetensorError, safe_open

from densenet_serving.errors import WeightsError

# Other programs write metadata too ("format", "license"): only keys with this prefix are ours.
PREFIX = "provenance."
Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Provenance:
    """The origin and the measured quality of a checkpoint. Raises WeightsError if a value is out of range.

    `data` names the training images by kind and count; `top1` and `top5` are accuracies in 0..1, measured through the
    serving preprocessing on `evaluated_on`; softmax(logits / `temperature`) gives calibrated probabilities.
    """

    teacher: str
    data: str
    steps: int
    top1: float
    top5: float
    evaluated_on: str
    temperature: float
    license: str

    def __post_init__(self) -> None:
        for name in ("teacher", "data", "evaluated_on", "license"):
            _check(bool(getattr(self, name).strip()), f"{name} is empty")
        _check(self.steps >= 0, f"steps is {self.steps}, and cannot be negative")
        for name in ("top1", "top5"):
            _check(0 <= getattr(self, name) <= 1, f"{name} is {getattr(self, name)}, and must lie in 0..1")
        _check(self.top1 <= self.top5, f"top1 ({self.top1}) is above top5 ({self.top5})")
        _check(0 < self.temperature < math.inf, f"temperature is {self.temperature}, and must be positive and finite")

    def to_metadata(self) -> dict[str, str]:
        """Return what safetensors.torch.save_file takes as `metadata`. Nothing is rounded."""
        return {f"{PREFIX}{name}": str(value) for name, value in asdict(self).items()}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Self:
        """Read what to_metadata wrote, and ignore other keys. Raises WeightsError if a field is missing or invalid."""
        texts = {name: metadata.get(f"{PREFIX}{name}") for name in (field.name for field in fields(cls))}
        if missing := [name for name, text in texts.items() if text is None]:
            raise WeightsError(f"The checkpoint's provenance lacks {', '.join(missing)}: export it again.")
        text = {name: value or "" for name, value in texts.items()}
        return cls(
            teacher=text["teacher"],
            data=text["data"],
            steps=_number("steps", text["steps"], int),
            top1=_number("top1", text["top1"], float),
            top5=_number("top5", text["top5"], float),
            evaluated_on=text["evaluated_on"],
            temperature=_number("temperature", text["temperature"], float),
            license=text["license"],
        )


def read(path: Path) -> Provenance | None:
    """Read the provenance of a .safetensors file without its tensors. Most files have none: then return None.

    Raises WeightsError if the file is damaged or its provenance is invalid.
    """
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is damaged or no checkpoint: fetch or save it again.") from error
    if not any(key.startswith(PREFIX) for key in metadata):
        return None
    try:
        return Provenance.from_metadata(metadata)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error


def _number(name: str, text: str, kind: Callable[[str], Number]) -> Number:
    try:
        return kind(text)
    except ValueError as error:
        raise WeightsError(f"The checkpoint's {name} is {text!r}, which is no number: export it again.") from error


def _check(fits: bool, otherwise: str) -> None:
    if not fits:
        raise WeightsError(f"The checkpoint's {otherwise}: export it again.")
