"""What the outputs mean: logits become probabilities, by the model's task, and class names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from handler.answers import Prediction
from handler.card import Task
from handler.errors import ArchiveError

LABELS_FILE = "index_to_name.json"


class Labels:
    """The class id and name of every output of the model, in the model's order, and how they relate."""

    def __init__(self, names: list[tuple[str, str]], task: Task = "single-label") -> None:
        self._names = names
        self.task = task

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> tuple[str, str]:
        return self._names[index]

    def index(self, class_id: str) -> int | None:
        """Find a class by its id; None if there is none."""
        return next((i for i, (own_id, _) in enumerate(self._names) if own_id == class_id), None)

    @classmethod
    def read(cls, path: Path, task: Task = "single-label") -> Self:
        """Read `{"0": [class_id, class_name], ...}`.

        Raises ArchiveError if the file has another form, or its indices are not 0, 1, 2 and so on.
        """
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
            names = [_pair(table[str(i)]) for i in range(len(table))]
        except (ValueError, KeyError, TypeError) as error:
            raise ArchiveError(
                f'{path.name} must map "0", "1", ... each to a pair [class id, class name]; '
                "python -m scripts.labels writes the one of ImageNet."
            ) from error
        return cls(names, task)

    def top_k(self, probabilities: NDArray[np.float64], k: int) -> list[Prediction]:
        """Rank one row of probabilities, shape (classes,), best first; a tie goes to the lower index.

        A list and not a dict: ImageNet has names that stand for two classes (crane, maillot).
        """
        return [self.predict(probabilities, i) for i in ranked(probabilities, k)]

    def at_least(self, probabilities: NDArray[np.float64], least: float) -> list[Prediction]:
        """List the classes of one row whose own probability is `least` or more, best first."""
        return self.top_k(probabilities, int((probabilities >= least).sum()))

    def predict(self, probabilities: NDArray[np.float64], index: int) -> Prediction:
        """Name one class of a row of probabilities."""
        class_id, class_name = self[index]
        return Prediction(class_id, class_name, float(probabilities[index]))


def ranked(probabilities: NDArray[np.float64], k: int) -> list[int]:
    """Return the outputs of the `k` best classes of one row, best first; a tie goes to the lower one."""
    return [int(i) for i in np.argsort(-probabilities, kind="stable")[:k]]


def _pair(value: Any) -> tuple[str, str]:
    if not isinstance(value, list):  # the text "ox" would come apart as well
        raise TypeError(value)
    class_id, name = value
    return str(class_id), str(name)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Turn logits (N, classes) into probabilities of the same shape, each row summing to 1."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float64] = shifted / shifted.sum(axis=1, keepdims=True)
    return probabilities


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Turn logits (N, classes) into probabilities of the same shape, each by itself."""
    # Of the absolute value, which cannot overflow.
    small = np.exp(-np.abs(logits.astype(np.float64)))
    probabilities: NDArray[np.float64] = np.where(logits >= 0, 1, small) / (1 + small)
    return probabilities


# The one place that chooses how a task's logits become probabilities.
ACTIVATIONS: dict[Task, Callable[[NDArray[np.float32]], NDArray[np.float64]]] = {
    "single-label": softmax,
    "multi-label": sigmoid,
}
