"""Measure every contender on this machine: `make bench`, or `python -m benchmarks.run --help`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as Remaining
from rich.table import Table

from benchmarks import lineup, load, machine, material, peers, plot, report, rounds
from benchmarks.lineup import CEILING, CEILING_INT8, INT8, LINEUP, Contender
from benchmarks.report import Run, show
from benchmarks.results import CLIENTS, Outcome, Sample, Step, clients, make_steps, spread
from benchmarks.service import Place, free_ports
from densenet_serving.console import err, note, out, run, warn
from densenet_serving.errors import CommandError
from handler.cores import available_cores

RESULTS = Path(__file__).parent / "results"
NO_NNCF = "NNCF is not installed: pip install -e '.[int8]'."


def bench(
    contenders: Annotated[str, typer.Option(help=f"Names with commas between, of {', '.join(lineup.NAMES)}.")] = "all",
    number_of_rounds: Annotated[
        int, typer.Option("--rounds", min=1, help="Interleaved: all once, then all again.")
    ] = 3,
    seconds: Annotated[float, typer.Option(min=1, help="Length of each load; up to 20 s for the slowest.")] = 3,
    sizes: Annotated[str, typer.Option(help="The photos; 720x720, or else the first, is the main one.")] = ",".join(
        material.SIZES
    ),
    output: Annotated[Path, typer.Option(help="Where latest.json, .md, .png and .svg go.")] = RESULTS,
) -> None:
    """Measure throughput, latency, CPU time, memory and start of every server that could serve this model."""
    # A contender lives in a process group of its own: ended without clean-up, the benchmark would leave it behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    names = lineup.choose(contenders)
    chosen_sizes = [size.strip() for size in sizes.split(",")]
    load.check_tools()
    with progress_bar() as progress:
        task = progress.add_task("Preparing", total=None)

        def say(text: str) -> None:
            progress.update(task, description=text)

        failures = peers.install(say) if any(package_of(name) for name in names) else {}
        int8 = find_spec("nncf") is not None and not set(names).isdisjoint(INT8)
        made = material.prepare(chosen_sizes, available_cores(), int8, say)
    steps = make_steps(chosen_sizes)
    results = start_run(steps, names, number_of_rounds, seconds, made, failures)
    measure(results, made)
    write(results, output)


def package_of(name: str) -> str | None:
    return next((contender.package for contender in LINEUP if contender.name == name), None)


def start_run(
    steps: list[Step], names: list[str], count: int, seconds: float, made: material.Material, failures: dict[str, str]
) -> Run:
    titles = {contender.name: contender.title for contender in LINEUP}
    titles |= {CEILING: "ceiling: no server", CEILING_INT8: "ceiling: no server, int8"}
    if made.int8:
        titles |= {name: f"{titles[name]} ({made.int8.agreement:.1%} of answers as in f32)" for name in INT8}
    outcomes = [Outcome(name, titles[name]) for name in names]
    for outcome in outcomes:
        outcome.failure = peers.reason_missing(package_of(outcome.name), failures)
        if outcome.name in INT8 and made.int8 is None:
            outcome.failure = NO_NNCF
    theirs = {"peers": peers.versions()} if (peers.BIN / "python").exists() else {}
    return Run(
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        commit=machine.commit(),
        machine=machine.describe(),
        versions={"ours": machine.our_versions()} | theirs,
        rounds=count,
        seconds=seconds,
        photos={size: path.stat().st_size for size, path in made.photos.items()},
        steps=steps,
        outcomes=outcomes,
    )


def measure(results: Run, made: material.Material) -> None:
    """Run all rounds. A contender that fails is reported and left out of the rounds that follow."""
    by_name: dict[str, Contender] = {contender.name: contender for contender in LINEUP}
    with progress_bar() as progress:
        task = progress.add_task("Measuring", total=results.rounds * len(results.outcomes) * len(results.steps))
        for number in range(1, results.rounds + 1):
            for outcome in results.outcomes:
                title = f"Round {number}/{results.rounds}, {outcome.title}"
                before = len(outcome.samples)
                progress.update(task, description=title)
                if not err.is_terminal:  # where no bar is drawn
                    note(title)

                def done(sample: Sample, title: str = title) -> None:
                    progress.update(task, advance=1, description=f"{title}, {sample.step}")

                if not outcome.failure:
                    place = Place(
                        material.BUILD / "run" / outcome.name, free_ports(), made, peers.BIN, available_cores()
                    )
                    try:
                        if outcome.name in (CEILING, CEILING_INT8):
                            results.ceiling += rounds.run_ceiling(
                                place, results.steps, results.seconds, number, outcome, done
                            )
                        else:
                            rounds.run_contender(
                                by_name[outcome.name], place, results.steps, results.seconds, number, outcome, done
                            )
                    except CommandError as error:
                        outcome.failure = f"round {number}: {error}"
                        warn(f"{outcome.title}, {outcome.failure}")
                progress.update(task, advance=len(results.steps) - (len(outcome.samples) - before))
            out.print(round_table(results, number))


def round_table(results: Run, number: int) -> Table:
    """The medians so far, for the person who waits."""
    table = Table(title=f"After round {number} of {results.rounds}: requests/s and p99 ms, {results.main_photo}")
    table.add_column("contender")
    for heading in (*map(clients, CLIENTS), "p99 at 1", f"p99 at {max(CLIENTS)}", "start s", "errors"):
        table.add_column(heading, justify="right")
    for outcome in results.outcomes:
        keys = [Step("closed", results.main_photo, n).key for n in CLIENTS]
        rates = [show(outcome.spread(key, "requests_per_second")) for key in keys]
        tails = [show(outcome.spread(key, "p99_ms")) for key in (keys[0], keys[-1])]
        start = show(spread(outcome.start_seconds))
        errors = "failed" if outcome.failure else str(outcome.errors())
        table.add_row(outcome.title, *rates, *tails, start, errors)
    return table


def write(results: Run, output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    report.write_json(results, output / "latest.json")
    text = report.markdown(results)
    (output / "latest.md").write_text(text)
    plot.draw(results, output)
    note(f"Wrote latest.json, latest.md, latest.png and latest.svg to {output}.")


@contextmanager
def progress_bar() -> Iterator[Progress]:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), Remaining(), console=err, transient=True) as progress:
        yield progress


if __name__ == "__main__":
    run(bench)
