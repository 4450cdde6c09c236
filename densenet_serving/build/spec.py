"""What `densenet archive` can be asked to build, and the options that ask for it again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from densenet_serving.build.model_store import FIRST_VERSION
from densenet_serving.build.precision import ArchivePrecision
from densenet_serving.errors import CommandError
from densenet_serving.options import STAND_IN, Activation
from handler.card import Task

NAMED_WEIGHTS = ("auto", "official", "embedded")  # every other source is a path or a URL
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"


@dataclass(frozen=True)
class ModelSpec:
    """A model to build an archive of, by the options of `densenet archive`; None stands for one that was not given.

    `weights` and `sha256` are those of `weights.find`; the stand-in's weights come with its package.
    `preprocessing` has the fields that differ from the architecture's own. Raises CommandError for a name or a version
    that TorchServe cannot have in its addresses.
    """

    model: str
    weights: str = "auto"
    sha256: str | None = None
    labels: Path | None = None
    version: str = FIRST_VERSION
    precision: ArchivePrecision | None = None
    calibrate: Path | None = None
    min_agreement: float | None = None
    architecture: str | None = None
    activation: Activation | None = None
    task: Task | None = None
    weights_key: str | None = None
    preprocessing: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for what, name in (("model", self.model), ("version", self.version)):
            if not re.fullmatch(NAME, name):
                raise CommandError(
                    f"The {what} {name!r} cannot be part of an address: use letters, digits, '.', '-' and '_', and "
                    "one of the first two at its beginning."
                )

    @property
    def is_stand_in(self) -> bool:
        return self.model == STAND_IN and self.weights == "auto"

    def options(self, checkpoint: Path, model_store: Path) -> dict[str, object]:
        """Return the options of `densenet archive` that build the same from any folder, with `checkpoint` as found."""
        return {
            "model": self.model,
            "weights": None if self.is_stand_in else self._weights_again(checkpoint),
            "sha256": self.sha256,
            "labels": self.labels and self.labels.resolve(),
            "model-store": model_store.resolve(),
            "version": self.version,
            "precision": self.precision,
            "architecture": self.architecture,
            "activation": self.activation,
            "task": self.task,
            "weights-key": self.weights_key,
            **self.preprocessing,
            "calibrate": self.calibrate and self.calibrate.resolve(),
            "min-agreement": self.min_agreement,
        }

    def _weights_again(self, checkpoint: Path) -> str:
        """Return the --weights that finds a checkpoint again: what `auto` or a relative path found may change."""
        is_name = self.weights in NAMED_WEIGHTS[1:] or "://" in self.weights
        return self.weights if is_name else str(checkpoint.resolve())
