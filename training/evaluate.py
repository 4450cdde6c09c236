"""How good a checkpoint is, through the serving preprocessing: `python -m training.evaluate --help`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.progress import track
from rich.table import Table
from torch import Tensor

from densenet_serving.build.checkpoint import load_network
from densenet_serving.build.graph import ServingModel
from densenet_serving.build.networks import Architecture
from densenet_serving.console import err, note, out, run, warn
from densenet_serving.errors import CommandError
from handler.errors import RequestError
from handler.images import decode
from training import card, networks, serving
from training.calibration import calibration_error
from training.files import read_labelled
from training.teacher import BOTH


@dataclass(frozen=True)
class Figures:
    """Shares are 0 to 1. `ece` is the expected calibration error in 15 bins; None is what nothing is known of."""

    model: str
    photos: int
    top1: float
    top5: float
    agreement: float | None
    teacher_top1: float | None
    ece: float
    temperature: float | None
    ece_calibrated: float | None


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
    photos, labels = readable(labelled)
    logits = answer(architecture, path, photos)
    theirs = None if teacher == "none" else ask(teacher, photos)
    figures = measure(checkpoint, logits, torch.tensor(labels), theirs, facts.temperature if facts else None)
    if out.is_terminal:
        out.print(draw(figures))
    else:
        print(json.dumps(asdict(figures)))
    if record and facts is not None:
        written = card.record(path, facts, figures.top1, figures.top5, f"{labelled.name}, {figures.photos} photos")
        note(f"Wrote the figures into {path} and the model card {written}.")
        if figures.top1 < card.LEAST_TOP1:
            warn(f"Its top-1 is under {card.LEAST_TOP1:.0%}: it is not good enough to be served.")


def readable(source: Path) -> tuple[list[bytes], list[int]]:
    """Read the photos that can be decoded, and their classes; the others are counted in a warning."""
    photos, labels, damaged = [], [], 0
    for label, data in track(list(read_labelled(source)), "Reading", console=err, transient=True):
        try:
            decode(data, serving.SETTINGS, 256)
        except RequestError:
            damaged += 1
        else:
            photos.append(data)
            labels.append(label)
    if damaged:
        warn(f"{damaged} damaged photo(s) in {source} were left out.")
    if not photos:
        raise CommandError(f"No photo in {source} can be read: make or fetch it again.")
    return photos, labels


def answer(architecture: Architecture, path: Path, photos: Sequence[bytes]) -> Tensor:
    """Run one network over photos as a server would: logits (N, classes)."""
    spec = architecture.preprocessing
    model = ServingModel(*load_network(path, architecture), spec).eval()
    bar = track(photos, architecture.title, console=err, transient=True)
    return serving.logits_of(model, (serving.pixels_of(data, spec) for data in bar))


def ask(teacher: str, photos: Sequence[bytes]) -> Tensor:
    """The mean of the teachers' probabilities, each served as it wants to be: (N, classes)."""
    answers = [answer(*networks.find(one.strip()), photos).softmax(dim=1) for one in teacher.split(",")]
    return torch.stack(answers).mean(dim=0)


def measure(name: str, logits: Tensor, labels: Tensor, teacher: Tensor | None, temperature: float | None) -> Figures:
    """Compute the figures from logits (N, classes), labels (N,) and the teacher's probabilities (N, classes)."""
    if int(labels.max()) >= logits.shape[1]:
        raise CommandError(f"A photo is of class {int(labels.max())} and the model has {logits.shape[1]} classes.")
    best = logits.topk(min(5, logits.shape[1]), dim=1).indices
    top5 = (best == labels[:, None]).any(dim=1)
    theirs = None if teacher is None else teacher.argmax(dim=1)
    return Figures(
        model=name,
        photos=len(labels),
        top1=mean(best[:, 0] == labels),
        top5=mean(top5),
        agreement=None if theirs is None else mean(best[:, 0] == theirs),
        teacher_top1=None if theirs is None else mean(theirs == labels),
        ece=calibration_error(logits.softmax(dim=1), labels),
        temperature=temperature,
        ece_calibrated=temperature and calibration_error((logits / temperature).softmax(dim=1), labels),
    )


def mean(hits: Tensor) -> float:
    return float(hits.double().mean())


def draw(figures: Figures) -> Table:
    def share(value: float | None) -> str:
        return "" if value is None else f"{value:.1%}"

    table = Table(title=f"{figures.model} on {figures.photos} photos", show_header=False)
    table.add_row("top-1", share(figures.top1))
    table.add_row("top-5", share(figures.top5))
    table.add_row("same answer as the teacher", share(figures.agreement))
    table.add_row("the teacher's top-1", share(figures.teacher_top1))
    table.add_row("calibration error, as trained", share(figures.ece))
    at = "" if figures.temperature is None else f" at temperature {figures.temperature:.3f}"
    table.add_row(f"calibration error{at or ', calibrated'}", share(figures.ece_calibrated) or "no temperature")
    return table


if __name__ == "__main__":
    run(evaluate)
