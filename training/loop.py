"""A training's session: step after step, with a log, checkpoints, and an orderly end when it is interrupted."""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import torch
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from torch import Tensor

from scripts.console import err, out
from scripts.errors import CommandError
from training import checkpoints, schedule
from training.schedule import Pace
from training.trainer import Trainer

LOG = "log.jsonl"
Record = dict[str, float | int | None]


def train(
    trainer: Trainer, pace: Pace, folder: Path, checkpoint_seconds: float, session_seconds: float = math.inf
) -> int:
    """Take steps until the training or the session is over, or a signal comes; the last act is a checkpoint.

    Returns the signal, or 0.
    """
    folder.mkdir(parents=True, exist_ok=True)
    began = saved = time.monotonic()
    session_step, since = 0, (began, 0)
    losses: list[Tensor] = []
    with interruptible() as signals, shown(folder / LOG) as show:
        while not (
            pace.is_over(trainer.progress, trainer.step) or signals or time.monotonic() - began > session_seconds
        ):
            losses.append(trainer.run_step(pace))
            session_step += 1
            if schedule.is_measured(session_step):
                value = torch.stack(losses).mean().item()  # waits for the device: the time taken next is true
                losses.clear()
                check(value, trainer)
                pace.measure(trainer.progress, session_step)
                now = time.monotonic()
                rate = (session_step - since[1]) * trainer.recipe.batch / (now - since[0])
                since = (now, session_step)
                show(record(trainer, pace, value, rate))
            if time.monotonic() - saved > checkpoint_seconds:
                checkpoints.save(folder, trainer, pace.spent)
                saved = time.monotonic()
        checkpoints.save(folder, trainer, pace.spent)
        return signals[0] if signals else 0


def check(loss: float, trainer: Trainer) -> None:
    if not math.isfinite(loss):
        raise CommandError(
            f"The loss is {loss} at step {trainer.step}: begin anew with half the --learning-rate and another --run."
        )


def record(trainer: Trainer, pace: Pace, loss: float, rate: float) -> Record:
    remaining = pace.remaining(trainer.progress, trainer.step)
    return {
        "step": trainer.step,
        "progress": round(trainer.progress, 5),
        "side": trainer.sides.at(trainer.progress),
        "loss": round(loss, 5),
        "learning_rate": trainer.optimizer.param_groups[0]["lr"],
        "images_per_second": round(rate, 2),
        "remaining_seconds": None if remaining is None else round(remaining, 1),
        "seconds": round(pace.spent, 2),
    }


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """Write SIGINT and SIGTERM down instead of dying of them; a second one ends the program as ever."""
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def write_down(number: int, _: FrameType | None) -> None:
        came.append(number)
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, write_down)
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def shown(path: Path) -> Iterator[Callable[[Record], None]]:
    """Append records to a file of JSON lines, and show them: a bar on a terminal, the lines themselves in a pipe."""
    columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with path.open("a") as log, Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("measuring", total=1)

        def show(one: Record) -> None:
            line = json.dumps(one)
            print(line, file=log, flush=True)
            if not out.is_terminal:
                print(line, flush=True)
            progress.update(task, completed=float(one["progress"] or 0), description=describe(one))

        yield show


def describe(one: Record) -> str:
    left = one["remaining_seconds"]
    minutes = "?" if left is None else f"{left / 60:.1f}"
    return (
        f"step {one['step']}  loss {one['loss']:.3f}  {one['images_per_second']:.0f} images/s  "
        f"{one['side']} px  lr {one['learning_rate']:.1e}  {minutes} min left"
    )
