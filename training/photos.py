"""Photos, decoded once, as one tensor on the device."""

from __future__ import annotations

import hashlib
import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track
from torch import Tensor

from handler.cores import available_cores
from handler.errors import RequestError
from handler.images import decode
from handler.settings import Settings
from scripts.console import err, warn
from scripts.errors import CommandError
from training.files import is_held_out, read_photos

SETTINGS = Settings(jpeg_decode="scaled")  # as a server may decode, and several times faster for large photos
WIDEST = 4 / 3  # longer photos are cut to it at both ends


@dataclass(frozen=True)
class Photos:
    """N photos of the same shorter side.

    `pixels` is uint8 (N, 3, side, longest). A portrait lies on its side, so that one width fits all with little
    padding: `lying` (N,) says which do. `lengths` (N,), in pixels, is how much of `longest` is photo.
    """

    pixels: Tensor
    lengths: Tensor
    lying: Tensor
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def digest(self) -> str:
        """What tells this collection from another: the names and the size."""
        return hashlib.sha256("\n".join([str(self.pixels.shape), *self.names]).encode()).hexdigest()[:16]


def load(sources: Sequence[Path], side: int, device: torch.device) -> Photos:
    """Decode the photos of folders and .tar files that are not held out, the shorter side brought to `side` pixels.

    A damaged file is skipped and counted in a warning. Raises CommandError where fewer than two are left.
    """
    longest = math.ceil(side * WIDEST)
    names, lengths, lying, rows = [], [], [], []
    damaged: list[str] = []
    files = ((name, data) for name, data in read_photos(sources) if not is_held_out(name))
    for name, photo in track(_decoded(files), "Decoding the photos", console=err, transient=True):
        if photo is None:
            damaged.append(name)
            continue
        pixels, is_lying = lay(photo, side, longest)
        row = np.zeros((3, side, longest), np.uint8)
        row[:, :, : pixels.shape[1]] = pixels.transpose(2, 0, 1)
        names.append(name)
        lengths.append(pixels.shape[1])
        lying.append(is_lying)
        rows.append(torch.from_numpy(row))
    if damaged:
        warn(f"{len(damaged)} damaged photo(s) were left out: {', '.join(damaged[:5])}{', ...' * (len(damaged) > 5)}.")
    if len(rows) < 2:
        raise CommandError(f"{len(rows)} photo(s) can be trained on, and two are the least: name more.")
    return Photos(
        torch.stack(rows).to(device),
        torch.tensor(lengths, dtype=torch.float32, device=device),
        torch.tensor(lying, device=device),
        tuple(names),
    )


def lay(photo: Image.Image, side: int, longest: int) -> tuple[NDArray[np.uint8], bool]:
    """Resize, lay a portrait on its side, cut what is past `longest`: (side, length, 3), and whether it lies."""
    scale = side / min(photo.size)
    size = (max(side, round(photo.width * scale)), max(side, round(photo.height * scale)))
    pixels = np.asarray(photo if photo.size == size else photo.resize(size, Image.Resampling.BILINEAR))
    is_lying = pixels.shape[0] > pixels.shape[1]
    if is_lying:
        pixels = pixels.transpose(1, 0, 2)
    start = max(0, pixels.shape[1] - longest) // 2
    return pixels[:, start : start + longest], is_lying


def _decoded(files: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, Image.Image | None]]:
    """Decode on all cores, in order, with few photos in memory at a time; None stands for a damaged file."""
    threads = available_cores()
    waiting: deque[tuple[str, Future[Image.Image | None]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for name, data in files:
            waiting.append((name, pool.submit(decoded_or_none, data)))
            if len(waiting) > 4 * threads:
                name, future = waiting.popleft()
                yield name, future.result()
        for name, future in waiting:
            yield name, future.result()


def decoded_or_none(data: bytes) -> Image.Image | None:
    try:
        return decode(data, SETTINGS, 2 * 256)
    except RequestError:
        return None
