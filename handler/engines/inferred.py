"""What the model made of one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Inferred:
    """The image's pixels (side, side, 3), its probabilities (classes,) and features (channels, h, w)."""

    pixels: NDArray[np.uint8]
    probabilities: NDArray[np.float64]
    features: NDArray[np.float32]
