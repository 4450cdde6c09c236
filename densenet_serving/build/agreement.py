"""Two ways of answering the same photos, compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
