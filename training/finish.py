"""A training's checkpoint to a file that can be served: `python -m training.finish --help`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor, nn

from densenet_serving import paths
from densenet_serving.build.weights import EMBEDDED_FILE
from densenet_serving.console import note, run, warn
from densenet_serving.errors import CommandError
from handler.cores import available_cores
from training import card, checkpoints, student
from training.figures import accuracy, fit_temperature
from training.photos import Named, is_held_out, list_photos, read, read_labelled
from training.recipe import FREE, STAGES
from training.serving import Pixels, answer, batches, estimate_statistics, pixels_of
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
    network = student.averaged(checkpoints.part(tensors, "average"), str(run_folder / checkpoints.FILE))
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


def sample(sources: Sequence[Path]) -> list[Pixels]:
    """The serving pixels of SAMPLE photos that train, spread over all sources, for `measure`."""
    training, _ = split(sources)
    return [pixels for _, pixels in seen(spread(training, SAMPLE), "Reading a sample")]


def measure(average: dict[str, Tensor], sampled: Sequence[Pixels], labelled: Path) -> tuple[float, float]:
    """Top-1 and top-5 of a training's averaged weights, with statistics of a sample, on photos named by class index."""
    model = student.served(student.averaged(average, "the training's average"))
    with torch.autocast("cpu", torch.bfloat16, enabled=has_bf16(CPU)):
        estimate_statistics(model, sampled)
        return accuracy(*answer(model, read_labelled(labelled), student.SPEC))


def prepare(
    network: nn.Module, sources: Sequence[Path], teacher: Teacher, labelled: Path | None, statistics: int
) -> tuple[float, int]:
    """Estimate the statistics anew and fit the temperature; returns it, and how many photos trained."""
    model = student.served(network)
    training, held_out = split(sources)
    estimate_statistics(model, (pixels for _, pixels in seen(spread(training, statistics), "Batch-norm statistics")))
    if labelled:
        return fit_temperature(*answer(model, read_labelled(labelled), student.SPEC)), len(training)
    if not held_out:
        warn("So few photos leave none to hold out: the temperature is fitted on those that trained.")
    apart = (pixels for _, pixels in seen(held_out or training, "Temperature"))
    return fit_temperature(*answer_both(model, teacher, apart)), len(training)


def split(sources: Sequence[Path]) -> tuple[list[Named], list[Named]]:
    """List the photos that train and those that are held out."""
    photos = list_photos(sources)
    return [one for one in photos if not is_held_out(one[0])], [one for one in photos if is_held_out(one[0])]


def spread(photos: list[Named], most: int) -> list[Named]:
    """Take some photos, from all of the list."""
    return photos[:: max(1, -(-len(photos) // most))]


def seen(photos: Sequence[Named], title: str) -> Iterator[tuple[str, Pixels]]:
    """The serving pixels of photos; damaged ones are left out, as they were in training."""
    return pixels_of(read(photos), student.SPEC, title, len(photos))


def answer_both(model: nn.Module, teacher: Teacher, pixels: Iterable[Pixels]) -> tuple[Tensor, Tensor]:
    """The student's logits (N, classes) and the teacher's first answers (N,), as if they were labels.

    Not the teacher's probabilities: label smoothing left it far less sure than it is right.
    """
    logits, labels = [], []
    with torch.inference_mode():
        for batch in batches(pixels):
            logits.append(model(batch)[0])
            labels.append(teacher(batch.permute(0, 3, 1, 2).float() / 255).answers.argmax(dim=1))
    return torch.cat(logits), torch.cat(labels)


def export(path: Path, weights: dict[str, Tensor], facts: card.Facts) -> None:
    """Write float16 weights and what is known of them. Raises CommandError where a weight has no place in float16."""
    kept = {name: one for name, one in weights.items() if one.is_floating_point()}
    for name, one in kept.items():
        if not bool((one.abs() <= LARGEST).all()):
            raise CommandError(f"{name} has values that float16 cannot hold: the training went astray, begin anew.")
    card.write(path, {name: one.half() for name, one in kept.items()}, facts)


if __name__ == "__main__":
    run(finish)
