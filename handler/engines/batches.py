"""How many images the model is given at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# More rows than this are inferred in slices, so that a request of many images needs no more memory.
MAX_BATCH = 32
# A CUDA graph has one batch size: a smaller batch is padded to the next of these.
FIXED_SIZES = (1, 2, 4, 8, 16, MAX_BATCH)


def slices(batch: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Cut a batch into views of at most MAX_BATCH rows."""
    return [batch[start : start + MAX_BATCH] for start in range(0, len(batch), MAX_BATCH)]


def padded_size(rows: int) -> int:
    """Round a number of rows, from 1 to MAX_BATCH, up to the next fixed size."""
    return next(size for size in FIXED_SIZES if size >= rows)
