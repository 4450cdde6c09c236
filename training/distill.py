"""Train a DenseNet-121 on photos without labels: `python -m training.distill --help`."""

from __future__ import annotations

import json
import math
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, TextIO

import torch
import typer

from densenet_serving.console import note, run
from densenet_serving.errors import CommandError
from handler.cores import available_cores
from training import checkpoints, crew, finish, fused, student
from training.balance import balance
from training.crew import Member
from training.finish import Data, Labelled, License, Output, Run, Sources, Statistics
from training.photos import load
from training.recipe import Recipe
from training.student import Student
from training.teacher import Teacher
from training.trainer import Errors, Trainer

LOG = "log.jsonl"
DEFAULT = Recipe()


@dataclass(frozen=True)
class Session:
    """What every process of a training is started with."""

    sources: tuple[Path, ...]
    folder: Path
    recipe: Recipe
    device: str
    ranks: int
    seconds: float
    between_checkpoints: float  # seconds
    labelled: Path | None  # photos to measure top-1 and top-5 on
    between_measurements: int  # views

    def trainer(self, rank: int) -> Trainer:
        """Build the student at its start, or at its checkpoint if there is one."""
        device = torch.device(self.device)
        teacher = Teacher(self.recipe.teachers, device, threads=1 if self.ranks > 1 else available_cores())
        photos = load(self.sources, self.folder / "photos")
        balance(photos, teacher, self.folder / "photos")
        torch.manual_seed(self.recipe.seed)  # the weights at the start are the same in every process
        one = Trainer(Student(student.build(teacher.classes)), teacher, photos, self.recipe, rank, self.ranks)
        found = checkpoints.read(self.folder)
        if found:
            one.restore(*found)
        else:
            one.settle()
        return one

    def work(self, member: Member) -> None:
        """Train in a process other than rank 0, until rank 0 says that it is over."""
        one = self.trainer(member.rank)
        member.agree()
        while True:
            one.learn()
            if member.average(one.step, list(one.gradients())):
                return
            one.apply()


def distill(
    sources: Sources,
    run_folder: Run = finish.RUN_FOLDER,
    hours: Annotated[float, typer.Option(min=0.0, help="Time of this session; the same command continues.")] = math.inf,
    view_count: Annotated[int, typer.Option("--views", min=1, help="Length of the training.")] = DEFAULT.views,
    teacher: Annotated[str, typer.Option(help="efficientnet_lite0, or with ,efficientnet_lite2.")] = DEFAULT.teachers,
    batch: Annotated[int, typer.Option(min=2, help="Views in a step.")] = DEFAULT.batch,
    seed: Annotated[int, typer.Option(min=0, max=2**31)] = 0,
    processes: Annotated[int, typer.Option(min=0, help="Processes on a CPU; 0: one for each core.")] = 0,
    evaluate: Annotated[
        Path | None, typer.Option(help="Photos named by class index, such as 0281.jpg, to measure top-1 on.")
    ] = None,
    evaluate_every: Annotated[int, typer.Option(min=1, help="Views between two measurements.")] = 50_000,
    checkpoint_minutes: Annotated[float, typer.Option(min=0.0, help="Between checkpoints.")] = 5,
    output: Output = None,
    labelled: Labelled = None,
    data: Data = None,
    license_: License = "Apache-2.0",
    statistics: Statistics = 2048,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda; auto takes a GPU if there is one.")] = "auto",
) -> None:
    """Train on photos without labels, and write weights to serve. The same command continues where one ended."""
    chosen = choose(device)
    ranks = 1 if chosen != "cpu" else processes or available_cores()
    recipe = Recipe(teacher, view_count, batch, min(DEFAULT.micro, max(2, batch // ranks)), seed=seed)
    times = hours * 3600, checkpoint_minutes * 60
    session = Session(tuple(sources), run_folder, recipe, chosen, ranks, *times, evaluate, evaluate_every)
    if ranks > 1:
        torch.set_num_threads(1)
    if chosen == "cpu":
        fused.kernels()  # compiled once, before several processes need it
    one = session.trainer(0)
    signalled = train(one, session)
    if one.views < recipe.views:
        note(f"Stopped at view {one.views:,} of {recipe.views:,}: the same command continues from there.")
        raise typer.Exit(128 + signalled if signalled else 0)
    finish.finish(sources, run_folder, output, labelled, data, license_, statistics)


def choose(name: str) -> str:
    """Resolve auto, cpu, cuda or cuda:N. Raises CommandError if there is no such device."""
    found = torch.cuda.is_available()
    if name == "auto":
        return "cuda" if found else "cpu"
    if name.partition(":")[0] not in ("cpu", "cuda"):
        raise CommandError(f"There is no device {name!r}: choose auto, cpu or cuda.")
    if name.startswith("cuda") and not found:
        raise CommandError(f"PyTorch finds no GPU for --device {name}: choose --device cpu.")
    return name


def train(one: Trainer, session: Session) -> int:
    """Train until the training or the session is over, or a signal comes; the last act is a checkpoint.

    Returns the signal, or 0.
    """
    began = saved = time.monotonic()
    before = one.seconds
    member = crew.start(session.ranks, sum(part.numel() for part in one.parameters.values()), session.work)
    session.folder.mkdir(parents=True, exist_ok=True)
    sampled = finish.sample(session.sources) if session.labelled else []
    with interruptible() as signals, (session.folder / LOG).open("a") as log:
        note(f"{len(one.photos)} photos, {member.ranks} process(es), from view {one.views:,} of {one.recipe.views:,}.")
        member.agree()  # the others have read the checkpoint
        now = since = time.monotonic()
        views = measured = one.views
        while one.views < one.recipe.views:
            one.learn()
            if member.average(one.step, list(one.gradients()), leave=bool(signals) or now - began >= session.seconds):
                break
            one.apply()
            now = time.monotonic()
            one.seconds = before + now - began
            if one.step % 25 == 0 or one.views >= one.recipe.views:
                show(log, record(one, (one.views - views) / (now - since)))
                since, views = now, one.views
            if now - saved >= session.between_checkpoints:
                checkpoints.save(session.folder, *one.state())
                saved = now
            if session.labelled and one.views - measured >= session.between_measurements:
                top1, top5 = finish.measure(one.average, sampled, session.labelled)
                show(log, {"views": one.views, "top1": round(top1, 4), "top5": round(top5, 4)})
                since, views, measured = time.monotonic(), one.views, one.views
        else:
            member.average(one.step, list(one.gradients()), leave=True)
        checkpoints.save(session.folder, *one.state())
        return signals[0] if signals else 0


def record(one: Trainer, rate: float) -> dict[str, Any]:
    *maps, divergence, agreement = one.errors.means()
    one.errors = Errors.none()
    return {
        "views": one.views,
        "stage": one.recipe.stages[one.stage].name,
        "views_per_second": round(rate, 1),
        "map_errors": maps,
        "divergence": divergence,
        "agreement": agreement,
        "learning_rate": round(one.optimizer.param_groups[0]["lr"], 6),
        "hours": round(one.seconds / 3600, 3),
    }


def show(log: TextIO, facts: dict[str, Any]) -> None:
    """Append a line of JSON to the log, and print it."""
    for file in (log, sys.stdout):
        print(json.dumps(facts), file=file, flush=True)


@contextmanager
def interruptible() -> Iterator[Sequence[int]]:
    """Note SIGINT and SIGTERM instead of ending at once; a second one ends the program as ever."""
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def take_note(number: int, _: FrameType | None) -> None:
        came.append(number)
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, take_note)
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    run(distill)
