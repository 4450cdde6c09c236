"""A training on disk: one safetensors file that holds all that is needed to go on, replaced as a whole."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from scripts.errors import CommandError
from training.trainer import Trainer

FILE = "checkpoint.safetensors"
KEY = "training"


@dataclass(frozen=True)
class Saved:
    """What a checkpoint says beside its tensors: the time trained so far, and in `origin` what may not change."""

    step: int
    progress: float
    seconds: float
    origin: dict[str, Any]


def origin(trainer: Trainer) -> dict[str, Any]:
    """The settings that must stay the same from start to end, in the form that JSON gives them back."""
    facts = asdict(trainer.recipe) | {
        "photos": trainer.photos.digest,
        "weights": sum(one.numel() for one in trainer.parameters.values()),
    }
    return dict(json.loads(json.dumps(facts)))


def save(folder: Path, trainer: Trainer, seconds: float) -> Path:
    """Write the checkpoint beside the old one and put it in its place: one of the two is always whole."""
    tensors = {f"student.{name}": one for name, one in trainer.student.state_dict().items()}
    tensors |= {f"average.{name}": one for name, one in trainer.average.items()}
    for index, state in trainer.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": one for key, one in state.items()}
    saved = Saved(trainer.step, trainer.progress, seconds, origin(trainer))
    path = folder / FILE
    write(path, tensors, {KEY: json.dumps(asdict(saved))})
    return path


def write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file so that no moment leaves half of one at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    try:
        save_file({name: one.detach().cpu().contiguous() for name, one in tensors.items()}, temporary, metadata)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # safetensors makes it the owner's alone
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read(folder: Path) -> tuple[Saved, dict[str, Tensor]] | None:
    """Read a run's checkpoint; None where it has none. Raises CommandError where it is damaged or something else."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            saved = Saved(**json.loads((file.metadata() or {})[KEY]))
            return saved, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CommandError(f"{path} is damaged or no checkpoint of a training: choose another folder.") from error


def part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Take the tensors of one part, `student`, `average` or `optimizer`, by their names in it."""
    return {name.removeprefix(f"{prefix}."): one for name, one in tensors.items() if name.startswith(f"{prefix}.")}


def resume(folder: Path, trainer: Trainer) -> float | None:
    """Bring a trainer to where its run's checkpoint is; returns the seconds it had trained, None where there is none.

    Raises CommandError where the checkpoint was made with other settings or photos.
    """
    found = read(folder)
    if found is None:
        return None
    saved, tensors = found
    now = origin(trainer)
    if differing := [name for name in now if saved.origin.get(name) != now[name]]:
        name = differing[0]
        raise CommandError(
            f"{folder / FILE} is of another training ({name} was {saved.origin.get(name)} and is {now[name]} now): "
            "give the same settings, or another --run folder."
        )
    trainer.student.load_state_dict(part(tensors, "student"))
    for name, one in part(tensors, "average").items():
        trainer.average[name].copy_(one)
    _resume_optimizer(trainer.optimizer, part(tensors, "optimizer"))
    trainer.step, trainer.progress = saved.step, saved.progress
    return saved.seconds


def _resume_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, one in tensors.items():
        index, key = name.split(".")
        like = parameters[int(index)]
        # In the memory layout of its weight, which the file does not keep.
        fitting = torch.empty_like(like).copy_(one) if one.shape == like.shape else one
        state.setdefault(int(index), {})[key] = fitting
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
