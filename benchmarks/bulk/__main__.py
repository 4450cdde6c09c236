"""Measure the contenders, one after another; all have the same DenseNet-121, and the slow ones a part of the photos.

python -m benchmarks.bulk [--photos 5000] [--of PHOTOS.tar] [--only no-server,bulk] prints a table, and JSON in a pipe.
"""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from benchmarks import machine, material
from benchmarks.bulk.contenders import CONTENDERS, Paced, Task
from benchmarks.bulk.photos import make_photos
from densenet_serving.console import note, out, run
from densenet_serving.errors import CommandError
from handler.cores import available_cores


def main(
    photos: Annotated[int, typer.Option(min=100, help="How many.")] = 5_000,
    of: Annotated[Path | None, typer.Option(help="A .tar of photos to resize, instead of a packaged one.")] = None,
    only: Annotated[str, typer.Option(help=f"Of {', '.join(CONTENDERS)}.")] = ",".join(CONTENDERS),
) -> None:
    """Measure each contender once, one after another."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # no server or Ray is left behind
    if unknown := set(only.split(",")) - set(CONTENDERS):
        raise CommandError(f"There is no {', '.join(sorted(unknown))}: choose among {', '.join(CONTENDERS)}.")
    with tempfile.TemporaryDirectory(prefix="bulk-") as temporary:
        task = prepare(photos, of, Path(temporary))
        results = []
        for name in only.split(","):
            note(f"Measuring {name}")
            if result := CONTENDERS[name](task):
                results.append(result)
                note(f"{result}")
            else:
                note(f"{name} is left out, because it is not installed: make bench installs it in build/bench-venv.")
    if not out.is_terminal:
        facts = {"machine": machine.describe(), "commit": machine.commit(), "results": list(map(asdict, results))}
        print(json.dumps(facts, indent=2))
        return
    out.print(table_of(results))


def prepare(photos: int, of: Path | None, temporary: Path) -> Task:
    note("Making the photos and the archive")
    folder = temporary / "photos"
    folder.mkdir()
    made = make_photos(photos, folder, of)
    material.BUILD.mkdir(parents=True, exist_ok=True)
    checkpoint = material.make_checkpoint(material.BUILD / "checkpoint.pth")
    store = temporary / "model_store"
    unpacked = material.make_archive(checkpoint, store, temporary / "unpacked")
    return Task(folder, made, store, unpacked, checkpoint, available_cores())


def table_of(results: list[Paced]) -> Table:
    table = Table("Contender", "Photos", "Photos/s", "Photos/s without start", box=None)
    for result in results:
        working = f"{result.working_rate:.1f}" if result.working_rate else "-"
        table.add_row(result.name, f"{result.photos:,}", f"{result.rate:.1f}", working)
    return table


if __name__ == "__main__":
    run(main)
