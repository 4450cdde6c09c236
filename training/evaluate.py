"""How good a checkpoint is, through the serving preprocessing: `python -m training.evaluate --help`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

from densenet_serving.build.checkpoint import load_network
from densenet_serving.build.graph import ServingModel
from densenet_serving.build.networks import Architecture
from densenet_serving.console import note, out, print_facts, run, warn
from densenet_serving.errors import CommandError
from training import card, networks, serving
from training.figures import Figures, measure
from training.photos import read_labelled
from training.teacher import BOTH


def evaluate(
    checkpoint: Annotated[
        str, typer.Argument(help="A file; NAME, whose weights a package brings; or NAME=FILE of that architecture.")
    ],
    labelled: Annotated[Path, typer.Argument(help="A folder or .tar of photos named by class index: 0281.jpg.")],
    teacher: Annotated[str, typer.Option(help="Whom to compare with, as in distill; none leaves it out.")] = BOTH,
    record: Annotated[
        bool, typer.Option("--record", help="Write the figures into the checkpoint, and its model card beside it.")
    ] = False,
) -> None:
    """Measure top-1, top-5, agreement with the teacher and calibration."""
    architecture, path = networks.find(f"densenet121={checkpoint}" if Path(checkpoint).is_file() else checkpoint)
    facts = card.read_facts(path) if path.suffix == ".safetensors" else None
    if record and facts is None:
        raise CommandError(f"{path} was not written by training.finish, so there is nothing to add figures to.")
    photos = read_labelled(labelled)
    logits, labels = answer(architecture, path, photos)
    if not len(labels):
        raise CommandError(f"No photo in {labelled} can be read: make or fetch it again.")
    if damaged := len(photos) - len(labels):
        warn(f"{damaged} damaged photo(s) in {labelled} were left out.")
    theirs = None if teacher == "none" else ask(teacher, photos)
    figures = measure(checkpoint, logits, labels, theirs, facts.temperature if facts else None)
    if out.is_terminal:
        print_facts(describe(figures))
    else:
        print(json.dumps(asdict(figures)))
    if record and facts is not None:
        written = card.record(path, facts, figures.top1, figures.top5, f"{labelled.name}, {figures.photos} photos")
        note(f"Wrote the figures into {path} and the model card {written}.")
        if figures.top1 < card.LEAST_TOP1:
            warn(f"Its top-1 is under {card.LEAST_TOP1:.0%}: it is not good enough to be served.")


def answer(architecture: Architecture, path: Path, photos: Sequence[tuple[int, bytes]]) -> tuple[Tensor, Tensor]:
    """Run one network over labelled photos as a server would: logits (N, classes) and labels (N,)."""
    spec = architecture.preprocessing
    model = ServingModel(*load_network(path, architecture), spec).eval()
    return serving.answer(model, photos, spec, architecture.title)


def ask(teacher: str, photos: Sequence[tuple[int, bytes]]) -> Tensor:
    """The mean of the teachers' probabilities, each served as it wants to be: (N, classes)."""
    answers = [answer(*networks.find(one.strip()), photos)[0].softmax(dim=1) for one in teacher.split(",")]
    return torch.stack(answers).mean(dim=0)


def describe(figures: Figures) -> dict[str, str]:
    """Write the figures for a person; what nothing is known of is left out."""
    shares = {
        "top-1": figures.top1,
        "top-5": figures.top5,
        "agreement": figures.agreement,  # with the teacher
        "teacher's": figures.teacher_top1,
        "calibration error": figures.ece,
        f"at temperature {figures.temperature}": figures.ece_calibrated,
    }
    known = {name: f"{share:.1%}" for name, share in shares.items() if share is not None}
    return {"model": figures.model, "photos": f"{figures.photos:,}"} | known


if __name__ == "__main__":
    run(evaluate)
