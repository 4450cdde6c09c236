"""Photos and networks as a server has them: the handler's own decoding and preprocessing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

BATCH = 16  # images; a DenseNet-121 that estimates statistics keeps much of each


def logits_of(model: nn.Module, pixels: Iterable[NDArray[np.uint8]]) -> Tensor:
    """Run a ServingModel over images, a batch at a time: float32 (N, classes)."""
    with torch.inference_mode():
        return torch.cat([model(batch)[0] for batch in batches(pixels)])


def batches(pixels: Iterable[NDArray[np.uint8]], size: int = BATCH) -> Iterator[Tensor]:
    rest = iter(pixels)
    while images := list(islice(rest, size)):
        yield torch.from_numpy(np.stack(images))


def views_of(batch: Tensor) -> Tensor:
    """Turn uint8 NHWC into what a teacher takes: float NCHW, 0 to 1."""
    return batch.permute(0, 3, 1, 2).float() / 255
