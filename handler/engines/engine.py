"""The model behind one method: a uint8 NHWC batch in, logits and features out."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from handler.engines.batches import slices

# float32: logits (N, classes) and the last feature map (N, channels, side / 32, side / 32).
Outputs = tuple[NDArray[np.float32], NDArray[np.float32]]


class Engine(ABC):
    """One loaded model. `description` names engine, precision, device and threads, for logs and the card."""

    description: dict[str, str | int]

    def infer(self, batch: NDArray[np.uint8], *, features: bool = False) -> Outputs:
        """Infer a batch (N, side, side, 3), uint8 RGB, of any N from 1.

        Returns the logits and, if `features` asks for it, the last feature map; otherwise one of no channels.
        """
        logits, maps = zip(*(self._infer(part, features=features) for part in slices(batch)), strict=True)
        return np.concatenate(logits), np.concatenate(maps)

    @abstractmethod
    def _infer(self, batch: NDArray[np.uint8], *, features: bool) -> Outputs:
        """Infer at most MAX_BATCH images, as `infer` does; the arrays returned are never written again."""


def no_features(rows: int) -> NDArray[np.float32]:
    """Return a feature map without channels, for a batch of which none was asked."""
    return np.empty((rows, 0, 0, 0), np.float32)
