"""How often each photo is drawn: the teacher's classes about equally often, and what it knows more often."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

from densenet_serving.console import err
from training.photos import SIDE, Photos
from training.teacher import Teacher

TOGETHER = 64  # photos that the teacher answers at a time
LEAST_KNOWN = 0.25  # added to the teacher's probability, so that photos that it does not know are drawn too
MOST = 4.0  # times the mean chance: photos of rare classes are not repeated without end


def balance(photos: Photos, teacher: Teacher, cache: Path) -> None:
    """Set the chance of each photo. The teacher's answers are kept in `cache`, where other processes find them."""
    path = cache / f"{photos.digest}.npz"
    if not path.exists():
        classes, known = _ask(photos, teacher)
        temporary = path.with_suffix(".part.npz")
        np.savez(temporary, classes=classes, known=known)
        temporary.replace(path)
    with np.load(path) as answers:
        photos.weigh(weights(answers["classes"], answers["known"]))


def weights(classes: NDArray[np.int64], known: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the weight (N,) of each photo, from the teacher's first class and its probability."""
    found = (LEAST_KNOWN + known) / np.sqrt(np.bincount(classes)[classes])
    capped: NDArray[np.float64] = np.minimum(found, MOST * found.mean())
    return capped


def _ask(photos: Photos, teacher: Teacher) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    starts = range(0, len(photos), TOGETHER)
    bar = track(starts, "Asking the teacher", console=err, transient=True)
    batches = (list(_squares(photos, start)) for start in bar)
    best = [teacher(torch.stack(batch).to(teacher.device)).answers.max(dim=1) for batch in batches]
    classes, known = torch.cat([one.indices for one in best]), torch.cat([one.values for one in best])
    return classes.cpu().numpy(), known.exp().cpu().numpy()


def _squares(photos: Photos, start: int) -> Iterator[Tensor]:
    """Yield the middle (3, SIDE, SIDE) of TOGETHER photos, 0 to 1."""
    for index in range(start, min(start + TOGETHER, len(photos))):
        pixels, is_transposed = photos.get(index)
        left = (pixels.shape[1] - SIDE) // 2
        square = torch.from_numpy(pixels[:, left : left + SIDE].copy())
        yield square.permute(2, 1, 0) / 255 if is_transposed else square.permute(2, 0, 1) / 255
