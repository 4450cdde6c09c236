"""Classify millions of photos without a server, on this machine or on a Ray cluster."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from densenet_serving import paths
from densenet_serving.build.archives import Archive, archives_in
from densenet_serving.console import err, json_line, note, print_facts
from densenet_serving.errors import CommandError
from densenet_serving.options import MODEL, MinProbability, TopK

if TYPE_CHECKING:
    from densenet_serving.bulk.job import Job

NEEDED = ("ray", "pyarrow")
INTERRUPTED = 130  # 128 + SIGINT, as a shell says it


@dataclass
class Tally:
    """Counts photos and errors, those of earlier runs too, and the pace of this one."""

    total: int
    done: int
    errors: int
    here: int = 0
    began: float = field(default_factory=time.monotonic)

    def add(self, rows: int, errors: int) -> None:
        self.done, self.errors, self.here = self.done + rows, self.errors + errors, self.here + rows

    @property
    def rate(self) -> float:
        return self.here / max(time.monotonic() - self.began, 1e-9)

    def to_dict(self) -> dict[str, int | float]:
        facts = {"photos": self.total, "done": self.done, "errors": self.errors}
        return facts | {"seconds": round(time.monotonic() - self.began, 1), "photos_per_second": round(self.rate, 2)}


def bulk(
    source: Annotated[str, typer.Argument(help="A folder, a .txt list, a .tar or .parquet file; a path or s3:// URI.")],
    output: Annotated[str, typer.Argument(help="The folder for the Parquet files, new or of the same job.")],
    archive: Annotated[
        str | None,
        typer.Option(
            help="The .mar to use, or its name in the model store.", show_default="densenet121 or the only one"
        ),
    ] = None,
    top_k: TopK = None,
    min_probability: MinProbability = None,
    column: Annotated[str | None, typer.Option(help="The column of Parquet files that holds photos or paths.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Photos classified at the same time.", show_default="a worker a core")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="A running Ray cluster: auto, HOST:PORT or ray://.", show_default="this machine")
    ] = None,
    dashboard: Annotated[bool, typer.Option("--dashboard", help="Start Ray's dashboard on loopback.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line as the work goes on.")] = False,
) -> None:
    """Classify every photo into Parquet, a row each; run it again to resume. The exit status is 1 if any failed."""
    check_installed()
    from densenet_serving.bulk.job import Job

    mar = Archive.read(chosen_archive(archive, paths.MODEL_STORE))
    given = replace(Job.of(source, output, mar), column=column, top_k=top_k, min_probability=min_probability)
    job = given.begin_or_resume(note)
    tally = do(job, mar.path, workers, address, dashboard, as_json)
    report(tally, job.output, as_json)
    if tally.errors:
        raise typer.Exit(1)


def check_installed() -> None:
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise CommandError(f"densenet bulk needs {', '.join(missing)}: run pip install -e '.[bulk]'.")


def chosen_archive(given: str | None, model_store: Path) -> Path:
    """Return the archive at a path or of a name in the model store; without one, densenet121's or the only one.

    Raises CommandError if there is no such archive, or a choice.
    """
    found = archives_in(model_store)
    there = {name: path for path in found for name in (path.name, path.stem)}
    if given is not None and (Path(given).exists() or Path(given).name != given):
        return Path(given)
    if chosen := there.get(given or MODEL) or (found[0] if given is None and len(found) == 1 else None):
        return chosen
    names = ", ".join(path.name for path in found) or "no archive"
    missing = "" if given is None else f"There is no archive {given}, and "
    raise CommandError(
        f"{missing}{model_store} holds {names}: name one with --archive, or build one with densenet archive."
    )


def do(job: Job, archive: Path, workers: int | None, address: str | None, dashboard: bool, as_json: bool) -> Tally:
    """Do the chunks that have no part yet. Raises CommandError if a chunk cannot be done."""
    from densenet_serving.bulk import cluster
    from handler.cores import available_cores

    left, errors = job.left()
    tally = Tally(job.total, job.total - sum(chunk.count for chunk in left), errors)
    if tally.done:
        note(f"{tally.done:,} of {job.total:,} photos were classified before.")
    if not left:
        return tally
    try:
        with cluster.connect(address, workers or available_cores(), archive.stat().st_size, dashboard):
            follow(cluster.classify(job, left, archive, workers), tally, as_json)
    except KeyboardInterrupt:
        note(f"Stopped after {tally.done:,} of {job.total:,} photos: run the same command to resume.")
        raise typer.Exit(INTERRUPTED) from None
    return tally


def follow(done: Iterator[tuple[int, int]], tally: Tally, as_json: bool) -> None:
    columns = (
        TextColumn("Classifying"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[tally].rate:.1f}/s, {task.fields[tally].errors} errors"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=as_json or not err.is_terminal) as progress:
        task = progress.add_task("", total=tally.total, completed=tally.done, tally=tally)
        for part in done:
            tally.add(*part)
            progress.update(task, completed=tally.done)
            if as_json:
                print(json_line(tally.to_dict()), flush=True)


def report(tally: Tally, output: str, as_json: bool) -> None:
    if as_json:
        print(json_line(tally.to_dict() | {"output": output}), flush=True)
        return
    pace = f"{tally.here:,} in this run, {tally.rate:.1f} a second" if tally.here else "none in this run"
    print_facts(
        {"photos": f"{tally.done:,} ({pace})", "errors": f"{tally.errors:,}", "output": f"{output}/part-*.parquet"}
    )
