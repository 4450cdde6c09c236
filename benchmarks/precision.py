"""What bf16 changes: the stand-in's answers in the processor's own precision beside exact f32.

python -m benchmarks.precision FOLDER_OF_PHOTOS
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.progress import track
from rich.table import Table

from benchmarks.agreement import stand_in
from densenet_serving.build.comparison import HEADINGS, Probabilities, compare
from densenet_serving.client import sources
from densenet_serving.console import err, out, run
from densenet_serving.photo_files import LeftOut
from handler.card import ModelCard
from handler.cores import Threads, available_cores
from handler.engines import load_engine
from handler.images import pixels_of
from handler.labels import softmax
from handler.settings import Settings


def precision(photos: Annotated[list[str], typer.Argument(help="Photos, folders or glob patterns.")]) -> None:
    """Print how far answers in the processor's own precision differ from exact ones."""
    with stand_in() as folder:
        automatic, exact = infer(folder, list(sources.expand(photos, LeftOut())))
    table = Table(*HEADINGS, box=None)
    table.add_row(*compare(automatic, exact).cells())
    out.print(table)


def infer(folder: Path, names: list[str]) -> tuple[Probabilities, Probabilities]:
    """Classify every photo twice; returns two arrays (photos, classes)."""
    spec, cores = ModelCard.read(folder).preprocessing, available_cores()
    threads = Threads(cores, cores)
    settings = Settings(engine="openvino"), Settings(engine="openvino", precision="f32")
    engines = [load_engine(folder, one, threads, None) for one in settings]
    rows = []
    for name in track(names, "Classifying", console=err, transient=True):
        pixels = pixels_of(sources.read(name), spec, settings[0])[None]
        rows.append([softmax(engine.infer(pixels)[0])[0] for engine in engines])
    automatic, exact = np.array(rows).swapaxes(0, 1)
    return automatic, exact


if __name__ == "__main__":
    run(precision)
