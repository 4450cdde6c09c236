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

from densenet_serving import paths
from densenet_serving.build.weights import EMBEDDED_FILE
from densenet_serving.console import err, note, run, warn
from densenet_serving.errors import CommandError
from handler.cores import available_cores
from handler.errors import RequestError
from handler.images import pixels_of
from training import card, checkpoints, serving, student
from training.calibration import fit_temperature, one_hot
from training.files import is_held_out, read_labelled, read_photos
from training.recipe import FREE, STAGES
from training.teacher import Teacher
from training.trainer import has_bf16

LARGEST = 65504.0  # of a float16
CPU = torch.device("cpu")
SAMPLE = 256  # photos that give the statistics for a measurement during the training

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
) -> None:
    """Make a training's averaged weights servable, however far it is: statistics, temperature, float16."""
    found = checkpoints.read(run_folder)
    if found is None:
        raise CommandError(f"{run_folder} holds no {checkpoints.FILE}: train with python -m training.distill first.")
    saved, tensors = found
    if saved.stage < FREE:
        raise CommandError(
            f"The sections of {run_folder} still learn apart, at view {saved.views:,}: train on to the stage "
            f"{STAGES[FREE].name} first."
        )
    average = checkpoints.part(tensors, "average.network")
    network = student.build(len(average["classifier.bias"]))
    student.load(network, average, str(run_folder / checkpoints.FILE))
    teacher = Teacher(saved.recipe["teachers"], CPU, available_cores())
    temperature, count = prepare(network, photos, teacher, labelled, statistics)
    facts = card.Facts(
        teacher=saved.recipe["teachers"],
        data=f"{count} photos: {data or ', '.join(source.name for source in photos)}",
        steps=saved.step,
        temperature=temperature,
        license=license_,
    )
    output = output or run_folder / EMBEDDED_FILE
    export(output, network.state_dict(), facts)
    note(f"Wrote {output} ({output.stat().st_size / 1e6:.1f} MB, step {saved.step}, temperature {temperature:.3f}).")


def sample(photos: Sequence[Path]) -> list[NDArray[np.uint8]]:
    """The serving pixels of SAMPLE photos that train, spread over all sources, for `measure`."""
    names = [name for name, _ in read_photos(photos) if not is_held_out(name)]
    return list(ServingPixels("Reading a sample", photos, set(names[:: max(1, len(names) // SAMPLE)])))


def measure(average: dict[str, Tensor], seen: Sequence[NDArray[np.uint8]], labelled: Path) -> tuple[float, float]:
    """Top-1 and top-5 of a training's averaged weights, with statistics of `seen`, on photos named by class index."""
    candidate = student.build(len(average["network.classifier.bias"]))
    student.load(candidate, checkpoints.part(average, "network"), "the training's average")
    model = student.served(candidate)
    with torch.autocast("cpu", torch.bfloat16, enabled=has_bf16(CPU)):
        estimate_statistics(model, seen)
        logits, targets = answer_labels(model, labelled)
    best = logits.topk(5, dim=1).indices == targets.argmax(dim=1, keepdim=True)
    return float(best[:, 0].float().mean()), float(best.any(dim=1).float().mean())


def prepare(
    network: nn.Module,
    photos: Sequence[Path],
    teacher: Teacher,
    labelled: Path | None,
    statistics: int,
) -> tuple[float, int]:
    """Estimate the statistics anew and fit the temperature; returns it, and how many photos trained."""
    model = student.served(network)
    names = [name for name, _ in read_photos(photos)]
    training = [name for name in names if not is_held_out(name)]
    step = -(-len(training) // statistics)  # spread over all sources
    seen = ServingPixels("Batch-norm statistics", photos, set(training[::step]))
    estimate_statistics(model, seen)
    if labelled:
        logits, targets = answer_labels(model, labelled)
    else:
        held_out = {name for name in names if is_held_out(name)}
        if not held_out:
            warn("So few photos leave none to hold out: the temperature is fitted on those that trained.")
        apart = ServingPixels("Temperature", photos, held_out or set(training))
        logits, targets = answer_both(model, teacher, apart)
    return fit_temperature(logits, targets), len(training)


class ServingPixels:
    """The serving pixels of the named photos, with a bar; damaged ones are left out, as they were in training."""

    def __init__(self, title: str, sources: Sequence[Path], names: set[str]) -> None:
        self.title, self.sources, self.names = title, sources, names

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        chosen = (data for name, data in read_photos(self.sources) if name in self.names)
        for data in track(chosen, self.title, total=len(self.names), console=err, transient=True):
            try:
                yield pixels_of(data, student.SPEC)
            except RequestError:
                continue


def estimate_statistics(model: nn.Module, pixels: ServingPixels | Sequence[NDArray[np.uint8]]) -> None:
    """Set every batch normalisation's mean and variance to those of the images, all batches weighing the same."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
        norm.train()
    with torch.inference_mode():
        for batch in serving.batches(pixels):
            model(batch)
    model.eval()


def answer_both(
    model: nn.Module, teacher: Teacher, pixels: ServingPixels | Sequence[NDArray[np.uint8]]
) -> tuple[Tensor, Tensor]:
    """The student's logits and the teacher's first answers, as if they were labels, for the same images; (N, classes).

    Not the teacher's probabilities: label smoothing left it far less sure than it is right.
    """
    logits, targets = [], []
    with torch.inference_mode():
        for batch in serving.batches(pixels):
            logits.append(model(batch)[0])
            targets.append(teacher(serving.views_of(batch)).answers.argmax(dim=1))
    return torch.cat(logits), one_hot(torch.cat(targets), logits[0].shape[1])


def answer_labels(model: nn.Module, labelled: Path) -> tuple[Tensor, Tensor]:
    pairs = [(label, pixels_of(data, student.SPEC)) for label, data in read_labelled(labelled)]
    logits = serving.logits_of(model, (pixels for _, pixels in pairs)).float()
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
