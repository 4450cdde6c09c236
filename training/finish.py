"""A training's checkpoint to a file that can be served: `python -m training.finish --help`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor, nn

from handler.errors import RequestError
from scripts import paths
from scripts.console import err, note, run, warn
from scripts.errors import CommandError
from scripts.model.weights import EMBEDDED_FILE
from training import card, checkpoints, serving, student, teachers
from training.calibration import fit_temperature, one_hot
from training.devices import Device, choose
from training.files import is_held_out, read_labelled, read_photos
from training.teachers import Teacher

LARGEST = 65504.0  # of a float16

Sources = Annotated[list[Path], typer.Argument(help="Folders or .tar files of photos.")]
Run = Annotated[Path, typer.Option("--run", help="The training's folder: checkpoint and log.")]
Output = Annotated[Path | None, typer.Option(help="The file to write; densenet121-embedded.safetensors in --run.")]
Labelled = Annotated[
    Path | None,
    typer.Option(help="Photos named by class index to fit the temperature on, never those of the evaluation."),
]
Data = Annotated[str | None, typer.Option(help="What the model card says of the photos; their number comes with it.")]
License = Annotated[str, typer.Option("--license", help="What the model card says of the licence.")]
Statistics = Annotated[int, typer.Option(min=2, help="Photos for the batch-norm statistics.")]
RUN_FOLDER = paths.ROOT / "build" / "distill"


def finish(
    photos: Sources,
    run_folder: Run = RUN_FOLDER,
    output: Output = None,
    labelled: Labelled = None,
    data: Data = None,
    license_: License = "Apache-2.0",
    statistics: Statistics = 2048,
    device: Device = "auto",
) -> None:
    """Make a training's averaged weights servable, however far it is: statistics, temperature, float16."""
    found = checkpoints.read(run_folder)
    if found is None:
        raise CommandError(f"{run_folder} holds no {checkpoints.FILE}: train with python -m training.distill first.")
    saved, tensors = found
    chosen = choose(device)
    teacher, _ = teachers.load(saved.origin["teachers"], chosen)
    network = student.build(len(tensors["student.classifier.bias"]))
    averaged = checkpoints.part(tensors, "student") | checkpoints.part(tensors, "average")
    student.load(network, averaged, str(run_folder / checkpoints.FILE))
    temperature, count = prepare(network, photos, teacher, labelled, statistics, chosen)
    facts = card.Facts(
        teacher=saved.origin["teachers"],
        data=f"{count} photos: {data or ', '.join(source.name for source in photos)}",
        steps=saved.step,
        temperature=temperature,
        license=license_,
    )
    output = output or run_folder / EMBEDDED_FILE
    export(output, network.state_dict(), facts)
    note(f"Wrote {output} ({output.stat().st_size / 1e6:.1f} MB, step {saved.step}, temperature {temperature:.3f}).")


def prepare(
    network: nn.Module,
    photos: Sequence[Path],
    teacher: Teacher,
    labelled: Path | None,
    statistics: int,
    device: torch.device,
) -> tuple[float, int]:
    """Estimate the statistics anew and fit the temperature; returns it, and how many photos trained."""
    model = student.served(network).to(device)
    names = [name for name, _ in read_photos(photos)]
    training = [name for name in names if not is_held_out(name)]
    step = -(-len(training) // statistics)  # spread over all sources
    seen = ServingPixels("Batch-norm statistics", photos, set(training[::step]))
    estimate_statistics(model, seen, device)
    if labelled:
        logits, targets = answer_labels(model, labelled, device)
    else:
        held_out = {name for name in names if is_held_out(name)}
        if not held_out:
            warn("So few photos leave none to hold out: the temperature is fitted on those that trained.")
        apart = ServingPixels("Temperature", photos, held_out or set(training))
        logits, targets = answer_both(model, teacher, apart, device)
    return fit_temperature(logits, targets), len(training)


class ServingPixels:
    """The serving pixels of the named photos, with a bar; damaged ones are left out, as they were in training."""

    def __init__(self, title: str, sources: Sequence[Path], names: set[str]) -> None:
        self.title, self.sources, self.names = title, sources, names

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        chosen = (data for name, data in read_photos(self.sources) if name in self.names)
        for data in track(chosen, self.title, total=len(self.names), console=err, transient=True):
            try:
                yield serving.pixels_of(data, student.SPEC)
            except RequestError:
                continue


def estimate_statistics(
    model: nn.Module, pixels: ServingPixels | Sequence[NDArray[np.uint8]], device: torch.device
) -> None:
    """Set every batch normalisation's mean and variance to those of the images, all batches weighing the same."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
        norm.train()
    with torch.inference_mode():
        for batch in serving.batches(pixels, device):
            model(batch)
    model.eval()


def answer_both(
    model: nn.Module, teacher: Teacher, pixels: ServingPixels | Sequence[NDArray[np.uint8]], device: torch.device
) -> tuple[Tensor, Tensor]:
    """The student's logits and the teacher's first answers, as if they were labels, for the same images; (N, classes).

    Not the teacher's probabilities: label smoothing left it far less sure than it is right.
    """
    logits, targets = [], []
    with torch.inference_mode():
        for batch in serving.batches(pixels, device):
            logits.append(model(batch)[0].cpu())
            targets.append(teacher(serving.views_of(batch)).argmax(dim=1).cpu())
    return torch.cat(logits), one_hot(torch.cat(targets), logits[0].shape[1])


def answer_labels(model: nn.Module, labelled: Path, device: torch.device) -> tuple[Tensor, Tensor]:
    pairs = [(label, serving.pixels_of(data, student.SPEC)) for label, data in read_labelled(labelled)]
    logits = serving.logits_of(model, (pixels for _, pixels in pairs), device)
    return logits, one_hot(torch.tensor([label for label, _ in pairs]), logits.shape[1])


def export(path: Path, weights: dict[str, Tensor], facts: card.Facts) -> None:
    """Write float16 weights and what is known of them. Raises CommandError where a weight has no place in float16."""
    kept = {name: one for name, one in weights.items() if one.is_floating_point()}
    for name, one in kept.items():
        if not bool((one.abs() <= LARGEST).all()):
            raise CommandError(f"{name} has values that float16 cannot hold: the training went astray, begin anew.")
    card.write(path, {name: one.half() for name, one in kept.items()}, facts)


if __name__ == "__main__":
    run(finish)
