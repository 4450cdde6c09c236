"""Photos and networks as a server has them: the handler's own decoding and preprocessing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor, nn

from densenet_serving.console import err
from handler import images
from handler.card import Preprocessing
from handler.errors import RequestError

BATCH = 16  # images; a DenseNet-121 that estimates statistics keeps much of each

Pixels = NDArray[np.uint8]
Key = TypeVar("Key")


def pixels_of(
    photos: Iterable[tuple[Key, bytes]], spec: Preprocessing, title: str, total: int
) -> Iterator[tuple[Key, Pixels]]:
    """Bring photos to what a served model sees, (crop, crop, 3), with a bar. Damaged ones are left out."""
    for key, data in track(photos, title, total, console=err, transient=True):
        try:
            yield key, images.pixels_of(data, spec)
        except RequestError:
            continue


def logits_of(model: nn.Module, pixels: Iterable[Pixels]) -> Tensor:
    """Run a ServingModel over images, a batch at a time: float32 (N, classes)."""
    with torch.inference_mode():
        return torch.cat([torch.empty(0), *(model(batch)[0].float() for batch in batches(pixels))])


def answer(
    model: nn.Module, photos: Sequence[tuple[int, bytes]], spec: Preprocessing, title: str = "Answering"
) -> tuple[Tensor, Tensor]:
    """Run a ServingModel over labelled photos: the logits (N, classes) and the labels (N,) of those not damaged."""
    labels: list[int] = []

    def seen() -> Iterator[Pixels]:
        for label, pixels in pixels_of(photos, spec, title, len(photos)):
            labels.append(label)
            yield pixels

    return logits_of(model, seen()), torch.tensor(labels)


def batches(pixels: Iterable[Pixels], size: int = BATCH) -> Iterator[Tensor]:
    rest = iter(pixels)
    while images := list(islice(rest, size)):
        yield torch.from_numpy(np.stack(images))


def estimate_statistics(model: nn.Module, pixels: Iterable[Pixels]) -> None:
    """Set every batch normalisation's mean and variance to those of the images, all batches weighing the same."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
        norm.train()
    with torch.inference_mode():
        for batch in batches(pixels):
            model(batch)
    model.eval()
