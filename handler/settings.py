"""The `handler:` section of model-config.yaml, read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Self, get_args

from handler.card import Task
from handler.errors import ArchiveError

Precision = Literal["auto", "f32"]
EngineName = Literal["auto", "openvino", "torch"]  # and the files of handler/engines/
JpegDecode = Literal["exact", "scaled"]
CHOICES = {"engine": EngineName, "precision": Precision, "jpeg_decode": JpegDecode}

# Bytes of a request, of all that it holds and of what it inflates to: max_request_size in config.properties.
MAX_REQUEST_BYTES = 33_554_432
LONGEST_DECODE = 10  # s: a batch has to end long before responseTimeout
LIKELIER_THAN_NOT = 0.5  # of a class that is true or not whatever the others are
ABOVE_CHANCE = 0.2  # gives the threshold that was measured for ImageNet's 1000 classes (docs/decisions.md)


@dataclass(frozen=True)
class Settings:
    """Defaults are those of handler/model-config.yaml, where each one is explained."""

    top_k: int = 1
    min_probability: float | Literal["auto"] = "auto"
    max_images: int = 32
    max_image_bytes: int = 20_000_000
    max_image_pixels: int = 50_000_000
    max_request_pixels: int = 100_000_000
    memory_headroom: int = 2_000_000_000
    decode_seconds: float = 1.5
    decode_memory: int = 500_000_000
    jpeg_decode: JpegDecode = "exact"
    engine: EngineName = "auto"
    precision: Precision = "auto"
    threads: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "min_probability":
                valid = value == "auto" or (
                    isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
                )
                expected = "auto or a number from 0 to 1"
            elif field.name == "decode_seconds":
                valid = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= LONGEST_DECODE
                expected = f"a number above 0, at most {LONGEST_DECODE}"
            elif field.name in CHOICES:
                choices = get_args(CHOICES[field.name])
                valid, expected = value in choices, f"one of {', '.join(choices)}"
            else:
                least = 0 if field.name in ("threads", "memory_headroom", "decode_memory") else 1
                valid = isinstance(value, int) and not isinstance(value, bool) and value >= least
                expected = f"a whole number of at least {least}"
            if not valid:
                raise ArchiveError(f"Set handler.{field.name} in model-config.yaml to {expected}; it is {value!r}.")

    def threshold(self, classes: int, task: Task = "single-label") -> float:
        """Return the probability, 0 to 1, from which an image counts as recognized by a model of this many classes.

        A multi-label model says of each class alone whether it is there, and there 0.5 is `auto`.

        `auto` is a fifth of the way from chance to certainty, to two decimals: a guess is right one time in `classes`,
        so what is far above chance among 1000 classes (0.2) is chance itself among five. Chance-corrected agreement
        is scaled the same way (Cohen 1960, https://doi.org/10.1177/001316446002000104).
        """
        if self.min_probability == "auto":
            if task == "multi-label":
                return LIKELIER_THAN_NOT
            chance = 1 / classes
            return round(chance + ABOVE_CHANCE * (1 - chance), 2)
        return self.min_probability

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Take the settings out of a whole model-config.yaml.

        Raises ArchiveError, naming the key, if one is unknown or has a value it cannot have.
        """
        section = config.get("handler") or {}
        if not isinstance(section, Mapping):
            raise ArchiveError("The handler section of model-config.yaml must be a mapping of settings.")
        known = [field.name for field in fields(cls)]
        unknown = sorted(map(str, set(section) - set(known)))
        if unknown:
            raise ArchiveError(
                f"Remove {', '.join(unknown)} from the handler section of model-config.yaml: "
                f"it knows {', '.join(known)}."
            )
        return cls(**section)
