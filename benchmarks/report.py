"""Writes all figures as JSON, and as Markdown tables for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.ceiling import ONE_AT_A_TIME
from benchmarks.results import CLIENTS, Outcome, Spread, Step, clients, spread

LATENCIES = ("p50_ms", "p95_ms", "p99_ms")
NONE = "-"


@dataclass
class Run:
    """One benchmark: what was measured, on which machine, and every figure."""

    date: str
    commit: str
    machine: dict[str, str]
    versions: dict[str, dict[str, str]]
    rounds: int
    seconds: float
    photos: dict[str, int]  # size to bytes
    steps: list[Step]
    outcomes: list[Outcome]
    ceiling: list[dict[str, Any]] = field(default_factory=list)

    @property
    def main_photo(self) -> str:
        return self.steps[0].photo

    def to_dict(self) -> dict[str, Any]:
        fields = asdict(self) | {"steps": [step.key for step in self.steps]}
        for outcome, plain in zip(self.outcomes, fields["outcomes"], strict=True):
            plain["summary"] = {step.key: self._summary(outcome, step) for step in self.steps}
            plain["start_seconds_spread"] = _plain(spread(outcome.start_seconds))
        return fields

    def _summary(self, outcome: Outcome, step: Step) -> dict[str, Any]:
        values = ("requests_per_second", *LATENCIES, "cpu_seconds_per_request", "memory_bytes", "offered")
        return {value: _plain(outcome.spread(step.key, value)) for value in values}


def write_json(run: Run, path: Path) -> None:
    path.write_text(json.dumps(run.to_dict(), indent=1) + "\n")


def markdown(run: Run) -> str:
    parts = [_heading(run), _throughput(run), _closed(run), _open(run), _costs(run), _ceiling(run), _failures(run)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _heading(run: Run) -> str:
    machine = "\n".join(f"- {key}: {value}" for key, value in run.machine.items())
    versions = "\n".join(
        f"- {where}: {', '.join(f'{name} {version}' for name, version in packages.items())}"
        for where, packages in run.versions.items()
    )
    photos = ", ".join(f"{size} ({count / 1000:.0f} kB)" for size, count in run.photos.items())
    return (
        f"# Benchmark of {run.date}, commit {run.commit}\n\n{machine}\n{versions}\n\n"
        f"Same DenseNet-121 checkpoint and photos ({photos}) for every server, with keep-alive if it supports that. "
        f"Rounds: {run.rounds}, interleaved; {run.seconds:g} s for each load. "
        "Every figure is the median of the rounds, with the lowest and highest in brackets."
    )


def _throughput(run: Run) -> str:
    others = [step for step in run.steps if step.photo != run.main_photo]
    head = ["contender", *map(clients, CLIENTS), "ours is"]
    head += [step.title for step in others]
    most = Step("closed", run.main_photo, max(CLIENTS)).key
    ours = next((o.spread(most, "requests_per_second") for o in run.outcomes if o.name == "ours"), None)
    rows = []
    for outcome in run.outcomes:
        rates = [outcome.spread(Step("closed", run.main_photo, n).key, "requests_per_second") for n in CLIENTS]
        ratio = f"{ours.median / rates[-1].median:.2f} x" if ours and rates[-1] and rates[-1].median else NONE
        rest = [outcome.spread(step.key, "requests_per_second") for step in others]
        rows.append([outcome.title, *map(show, rates), ratio, *map(show, rest)])
    note = f"`ours is`: our requests/s divided by the contender's, at {max(CLIENTS)} clients."
    return f"## Requests per second, {run.main_photo} unless a column says otherwise\n\n{table(head, rows)}\n\n{note}"


def _closed(run: Run) -> str:
    head = ["contender", *(f"{name} at {n}" for n in CLIENTS for name in ("p50", "p95", "p99"))]
    rows = [
        [o.title, *(show(o.spread(Step("closed", run.main_photo, n).key, v)) for n in CLIENTS for v in LATENCIES)]
        for o in run.outcomes
    ]
    return f"## Latency in ms, closed loop, {run.main_photo}, by clients\n\n{table(head, rows)}"


def _open(run: Run) -> str:
    steps = [step for step in run.steps if step.mode == "open"]
    head = ["contender"]
    for step in steps:
        head += [f"{step.amount} %: rate", "p50", "p95", "p99", "p99 / p50"]
    rows = []
    for outcome in run.outcomes:
        row = [outcome.title]
        for step in steps:
            p50, _, p99 = latencies = [outcome.spread(step.key, value) for value in LATENCIES]
            ratio = f"{p99.median / p50.median:.1f}" if p50 and p99 and p50.median else NONE
            row += [show(outcome.spread(step.key, "offered")), *map(show, latencies), ratio]
        rows.append(row)
    return f"## Latency in ms, open loop at a share of each server's own peak, {run.main_photo}\n\n{table(head, rows)}"


def _costs(run: Run) -> str:
    key = Step("closed", run.main_photo, max(CLIENTS)).key
    head = ["contender", "CPU ms per request", "memory MiB", "s to first answer", "errors"]
    rows = []
    for outcome in run.outcomes:
        cpu, memory = outcome.spread(key, "cpu_seconds_per_request"), outcome.spread(key, "memory_bytes")
        cells = [show(_scaled(cpu, 1e3)), show(_scaled(memory, 1 / 2**20)), show(spread(outcome.start_seconds))]
        rows.append([outcome.title, *cells, str(outcome.errors()) if outcome.samples else NONE])
    note = "Memory is the proportional set size of the process and all its children. Errors are those of all loads."
    return f"## Cost at {max(CLIENTS)} clients, {run.main_photo}\n\n{table(head, rows)}\n\n{note}"


def _ceiling(run: Run) -> str:
    variants = dict.fromkeys(m["variant"] for m in run.ceiling if m["photo"] == run.main_photo)
    if not variants:
        return ""
    rows = []
    for variant in variants:
        measured = [m for m in run.ceiling if m["variant"] == variant and m["photo"] == run.main_photo]
        cpu = spread([m["cpu_seconds_per_image"] for m in measured])
        p50 = show(spread([m["p50_ms"] for m in measured])) if variant.startswith(ONE_AT_A_TIME) else NONE
        rows.append([variant, show(spread([m["rate"] for m in measured])), p50, show(_scaled(cpu, 1e3))])
    head = ["no server", "images/s", "p50 ms", "CPU ms per image"]
    return f"## The ceiling: each arrangement without a server, {run.main_photo}\n\n{table(head, rows)}"


def _failures(run: Run) -> str:
    lines = [f"- {outcome.title}: {' '.join(outcome.failure.split())}" for outcome in run.outcomes if outcome.failure]
    return "## Not measured, or not in every round\n\n" + "\n".join(lines) if lines else ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a Markdown table. All columns but the first hold figures."""
    lines = [list(head), ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def show(value: Spread | None) -> str:
    """Write a median with its range, to three significant digits: 101 (98-104)."""
    if value is None:
        return NONE
    middle, least, most = (f"{n:,.0f}" if n >= 99.95 else f"{n:.3g}" for n in (value.median, value.min, value.max))
    return middle if least == most else f"{middle} ({least}-{most})"


def _scaled(value: Spread | None, factor: float) -> Spread | None:
    return Spread(value.median * factor, value.min * factor, value.max * factor) if value else None


def _plain(value: Spread | None) -> dict[str, float] | None:
    return asdict(value) if value else None
