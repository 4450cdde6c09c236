"""Teach a DenseNet-121 what a teacher answers: `python -m training.distill --help`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import torch
import typer

from scripts.console import note, run
from scripts.errors import CommandError
from training import checkpoints, photos, student, teachers
from training.devices import Device, choose
from training.finish import (
    RUN_FOLDER,
    Data,
    Labelled,
    License,
    Output,
    Run,
    Sources,
    Statistics,
    finish,
)
from training.loop import train
from training.schedule import Pace
from training.trainer import Recipe, Trainer

DEFAULT = Recipe()


def distill(
    sources: Sources,
    run_folder: Run = RUN_FOLDER,
    minutes: Annotated[
        float | None, typer.Option(min=0.01, help="Time for the whole training; 20 without --steps.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Batches of the whole training, instead of a time.")] = None,
    stop_after: Annotated[
        float | None, typer.Option(min=0.01, help="Minutes after which to stop for now; the same command goes on.")
    ] = None,
    teacher: Annotated[
        str, typer.Option(help="NAME or NAME=CHECKPOINT, several with commas between.")
    ] = DEFAULT.teachers,
    init: Annotated[Path | None, typer.Option(help="A checkpoint to begin with instead of random weights.")] = None,
    sides: Annotated[str, typer.Option(help="Sides of the views in pixels, the first to the last.")] = "128,160,176",
    stored_side: Annotated[int, typer.Option(min=32, help="Shorter side of the photos in memory.")] = 176,
    batch: Annotated[int, typer.Option(min=2)] = DEFAULT.batch,
    learning_rate: Annotated[float, typer.Option(min=0.0, help="At its highest.")] = DEFAULT.peak,
    weight_decay: Annotated[float, typer.Option(min=0.0)] = DEFAULT.weight_decay,
    softening: Annotated[float, typer.Option(min=0.1, help="Temperature of the loss.")] = DEFAULT.softening,
    averaging: Annotated[float, typer.Option(min=0.0, max=0.99999, help="Decay of the average.")] = DEFAULT.averaging,
    seed: Annotated[int, typer.Option(min=0, max=2**31)] = 0,
    checkpoint_minutes: Annotated[float, typer.Option(min=0.0, help="Between checkpoints.")] = 2,
    compiled: Annotated[bool, typer.Option("--compile", help="torch.compile the student.")] = False,
    output: Output = None,
    labelled: Labelled = None,
    data: Data = None,
    license_: License = "Apache-2.0",
    statistics: Statistics = 2048,
    device: Device = "auto",
) -> None:
    """Train on photos without labels, and write weights to serve. The same command again goes on where one ended."""
    if minutes and steps:
        raise CommandError("A training ends with its time or with its steps: give --minutes or --steps, not both.")
    recipe = Recipe(
        teacher, read_sides(sides, stored_side), batch, learning_rate, weight_decay, softening, averaging, seed
    )
    chosen = choose(device)
    answering, classes = teachers.load(teacher, chosen)
    torch.manual_seed(seed)  # of the random weights; the views have generators of their own
    learner = student.build(classes, init)
    loaded = photos.load(sources, stored_side, chosen)
    trainer = Trainer(learner, answering, loaded, recipe, student.SPEC, compiled=compiled)
    spent = checkpoints.resume(run_folder, trainer)
    went_on = "" if spent is None else f", from step {trainer.step}"
    note(f"{len(loaded)} photos, {loaded.pixels.nbytes / 1e6:,.0f} MB on {chosen}{went_on}.")
    pace = Pace(trainer.sides, steps, None if steps else 60 * (minutes or 20), spent or 0.0)
    signalled = train(trainer, pace, run_folder, checkpoint_minutes * 60, (stop_after or math.inf) * 60)
    if not pace.is_over(trainer.progress, trainer.step):
        note(f"Stopped at step {trainer.step}, {trainer.progress:.0%} of the way: the same command goes on from there.")
        raise typer.Exit(128 + signalled if signalled else 0)
    del trainer, learner, answering, loaded  # their memory is needed again
    finish(sources, run_folder, output, labelled, data, license_, statistics, device)


def read_sides(text: str, stored_side: int) -> tuple[int, ...]:
    try:
        sides = tuple(int(side) for side in text.split(","))
    except ValueError as error:
        raise CommandError(f"--sides takes numbers of pixels with commas between, not {text!r}.") from error
    if not all(32 <= side <= 2 * stored_side for side in sides):
        raise CommandError(f"--sides must lie between 32 and twice --stored-side, {2 * stored_side}; they are {text}.")
    return sides


if __name__ == "__main__":
    run(distill)
