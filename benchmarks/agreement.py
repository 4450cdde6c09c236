"""Two ways of answering the same photos, compared on the pretrained stand-in."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scripts.archives.build import build_model
from scripts.options import STAND_IN

Probabilities = NDArray[np.float64]

HEADINGS = ("Photos", "Top-1 agrees", "Top-5 sets agree", "Largest change", "Mean change of the best")


@dataclass(frozen=True)
class Agreement:
    """`top_1` and `top_5_sets` are shares of the photos, 0 to 1; changes are those of probabilities."""

    photos: int
    top_1: float
    top_5_sets: float
    largest_change: float
    mean_change_of_best: float

    def cells(self) -> list[str]:
        """Under HEADINGS."""
        return [
            str(self.photos),
            f"{self.top_1:.1%}",
            f"{self.top_5_sets:.1%}",
            f"{self.largest_change:.3f}",
            f"{self.mean_change_of_best:.4f}",
        ]


def compare(changed: Probabilities, exact: Probabilities) -> Agreement:
    """Compare two arrays (photos, classes) row by row."""
    top_5 = [np.sort(np.argsort(-one, axis=1)[:, :5], axis=1) for one in (changed, exact)]
    change = np.abs(changed - exact)
    best = exact.argmax(axis=1)
    return Agreement(
        photos=len(exact),
        top_1=float((changed.argmax(axis=1) == best).mean()),
        top_5_sets=float((top_5[0] == top_5[1]).all(axis=1).mean()),
        largest_change=float(change.max()),
        mean_change_of_best=float(change[np.arange(len(best)), best].mean()),
    )


@contextmanager
def stand_in() -> Iterator[Path]:
    """Build the stand-in's archive and unpack it into a folder that lasts as long as the block."""
    with tempfile.TemporaryDirectory() as name:
        store = Path(name)
        build_model(STAND_IN, store)
        with zipfile.ZipFile(store / f"{STAND_IN}.mar") as mar:
            mar.extractall(store)
        yield store
