"""A training on disk: one safetensors file that holds all that is needed to continue, replaced as a whole."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from densenet_serving.errors import CommandError

FILE = "checkpoint.safetensors"
KEY = "training"


@dataclass(frozen=True)
class Saved:
    """What a checkpoint says beside its tensors. `entered` is the step at which its stage began."""

    step: int
    views: int
    stage: int
    entered: int
    seconds: float
    recipe: dict[str, Any]


def save(folder: Path, saved: Saved, tensors: dict[str, Tensor]) -> None:
    write(folder / FILE, tensors, {KEY: json.dumps(asdict(saved))})


def write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file so that no moment leaves half of one at `path`."""
    temporary = path.with_name(path.name + ".tmp")  # what a killed process left is replaced
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: one.detach().cpu().contiguous() for name, one in tensors.items()}, temporary, metadata)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # safetensors makes it the owner's alone
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        raise CommandError(f"{path} cannot be written ({error}): free some space there, then run it again.") from error
    finally:
        temporary.unlink(missing_ok=True)


def read(folder: Path) -> tuple[Saved, dict[str, Tensor]] | None:
    """Read a run's checkpoint; None if it has none. Raises CommandError if it is damaged or something else."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            saved = Saved(**json.loads((file.metadata() or {})[KEY]))
            return saved, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CommandError(f"{path} is damaged or no checkpoint of this training: choose another --run.") from error


def part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Take the tensors of one part, such as `student` or `average`, by their names in it."""
    return {name.removeprefix(f"{prefix}."): one for name, one in tensors.items() if name.startswith(f"{prefix}.")}
