"""What bf16 changes: the stand-in's answers in the processor's own precision beside exact f32.

python -m benchmarks.precision FOLDER_OF_PHOTOS
"""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.progress import track
from rich.table import Table

from handler.card import ModelCard
from handler.engine import OpenVinoEngine
from handler.images import decode
from handler.labels import softmax
from handler.preprocessing import preprocess
from handler.settings import Settings, Threads, available_cores
from scripts import archive, sources
from scripts.console import err, out, run
from scripts.options import STAND_IN

Probabilities = NDArray[np.float64]


def precision(photos: Annotated[list[str], typer.Argument(help="Photos, folders or glob patterns.")]) -> None:
    """Print how far answers in the processor's own precision differ from exact ones."""
    with tempfile.TemporaryDirectory() as name:
        store = Path(name)
        archive.archive(STAND_IN, model_store=store)
        with zipfile.ZipFile(store / f"{STAND_IN}.mar") as mar:
            mar.extractall(store)
        automatic, exact = infer(store, list(sources.expand(photos)))
    table = Table("Photos", "Top-1 agrees", "Top-5 sets agree", "Largest change", "Mean change of the best", box=None)
    table.add_row(*compare(automatic, exact))
    out.print(table)


def infer(folder: Path, names: list[str]) -> tuple[Probabilities, Probabilities]:
    """Classify every photo twice; returns two arrays (photos, classes)."""
    card, cores = ModelCard.read(folder), available_cores()
    threads = Threads(cores, cores)
    settings = Settings(), Settings(precision="f32")
    engines = [OpenVinoEngine(folder, one, threads) for one in settings]
    rows = []
    for name in track(names, "Classifying", console=err, transient=True):
        pixels = preprocess(decode(sources.read(name), settings[0]), card.preprocessing)[None]
        rows.append([softmax(engine(pixels))[0] for engine in engines])
    automatic, exact = np.array(rows).swapaxes(0, 1)
    return automatic, exact


def compare(automatic: Probabilities, exact: Probabilities) -> list[str]:
    """Summarize two arrays (photos, classes) as the table's cells."""
    top_5 = [np.sort(np.argsort(-one, axis=1)[:, :5], axis=1) for one in (automatic, exact)]
    change = np.abs(automatic - exact)
    best = exact.argmax(axis=1)
    return [
        str(len(exact)),
        f"{(automatic.argmax(axis=1) == best).mean():.1%}",
        f"{(top_5[0] == top_5[1]).all(axis=1).mean():.1%}",
        f"{change.max():.3f}",
        f"{change[np.arange(len(best)), best].mean():.4f}",
    ]


if __name__ == "__main__":
    run(precision)
