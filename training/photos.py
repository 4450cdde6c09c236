"""Photos to train on: decoded once, into files that are mapped into memory."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track

from densenet_serving.console import err, warn
from densenet_serving.errors import CommandError
from handler.cores import available_cores
from handler.errors import RequestError
from handler.images import decode
from handler.settings import Settings
from training.files import is_held_out, read_photos

SIDE = 176  # pixels of the shorter side, as stored
LONGEST = math.ceil(SIDE * 4 / 3)  # longer photos lose both ends
SETTINGS = Settings(jpeg_decode="scaled")  # as a server may decode, and several times faster for large photos
TOGETHER = 64  # photos decoded at a time

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Stored:
    """The photos of one source, uint8 (N, SIDE, LONGEST, 3).

    A portrait is stored transposed, so that one width fits all. `lengths` is the number of columns that are photo,
    `transposed` says which photos are portraits.
    """

    pixels: Pixels
    lengths: list[int]
    transposed: list[bool]


class Photos:
    """The photos of several sources under one index."""

    def __init__(self, stored: Sequence[Stored]) -> None:
        self.stored = stored
        self.starts = np.cumsum([0, *(len(one.lengths) for one in stored)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def get(self, index: int) -> tuple[Pixels, bool]:
        """Return the pixels (SIDE, length, 3) of a photo, and whether it is transposed."""
        source = int(np.searchsorted(self.starts, index, side="right")) - 1
        one, place = self.stored[source], index - int(self.starts[source])
        return one.pixels[place, :, : one.lengths[place]], one.transposed[place]


def load(sources: Sequence[Path], cache: Path) -> Photos:
    """Open the photos of folders and .tar files that are not held out; decode what `cache` does not hold yet.

    A damaged file is left out and counted in a warning. Raises CommandError if a source is none, or if fewer than two
    photos are left.
    """
    photos = Photos([_open(source, cache) for source in sources])
    if len(photos) < 2:
        raise CommandError(f"{len(photos)} photo(s) can be trained on, and two are the least: name more.")
    return photos


def _open(source: Path, cache: Path) -> Stored:
    path = cache / f"{_digest(source)}.json"
    if not path.exists():
        _store(source, path)
    index = json.loads(path.read_text())
    shape = (len(index["lengths"]), SIDE, LONGEST, 3)
    empty = np.zeros(shape, np.uint8)
    return Stored(np.memmap(path.with_suffix(".u8"), np.uint8, "r", shape=shape) if shape[0] else empty, **index)


def _digest(source: Path) -> str:
    """Identify what a source holds: a .tar file by its size and time, a folder by those of its files."""
    if not source.exists():
        raise CommandError(f"There is no folder or file {source}: name a folder of photos, or a .tar of them.")
    files = sorted(source.rglob("*")) if source.is_dir() else [source]
    facts = [(str(one), one.stat().st_size, one.stat().st_mtime_ns) for one in files if one.is_file()]
    return hashlib.sha256(repr((SIDE, LONGEST, source.resolve(), facts)).encode()).hexdigest()[:16]


def _store(source: Path, index: Path) -> None:
    index.parent.mkdir(parents=True, exist_ok=True)
    lengths, transposed, damaged = [], [], []
    temporary = index.with_suffix(".part")
    files = ((name, data) for name, data in read_photos([source]) if not is_held_out(name))
    bar = track(_decoded(files), f"Decoding {source.name}", console=err, transient=True)
    try:
        with temporary.open("wb") as out:
            for name, photo in bar:
                if photo is None:
                    damaged.append(name)
                    continue
                pixels, is_transposed = lay(photo)
                row = np.zeros((SIDE, LONGEST, 3), np.uint8)
                row[:, : pixels.shape[1]] = pixels
                out.write(row.tobytes())
                lengths.append(pixels.shape[1])
                transposed.append(is_transposed)
        temporary.replace(index.with_suffix(".u8"))
        index.write_text(json.dumps({"lengths": lengths, "transposed": transposed}))
    finally:
        temporary.unlink(missing_ok=True)
    if damaged:
        more = ", ..." * (len(damaged) > 5)
        warn(f"{len(damaged)} damaged photo(s) in {source} were left out: {', '.join(damaged[:5])}{more}.")


def lay(photo: Image.Image) -> tuple[Pixels, bool]:
    """Resize to SIDE, transpose a portrait, cut off what is past LONGEST: (SIDE, length, 3), and whether transposed."""
    scale = SIDE / min(photo.size)
    size = (max(SIDE, round(photo.width * scale)), max(SIDE, round(photo.height * scale)))
    pixels = np.asarray(photo if photo.size == size else photo.resize(size, Image.Resampling.BILINEAR))
    is_transposed = pixels.shape[0] > pixels.shape[1]
    if is_transposed:
        pixels = pixels.transpose(1, 0, 2)
    start = max(0, pixels.shape[1] - LONGEST) // 2
    return pixels[:, start : start + LONGEST], is_transposed


def _decoded(files: Iterable[tuple[str, bytes]]) -> Iterable[tuple[str, Image.Image | None]]:
    """Decode on all cores, in order, with few photos in memory at a time; None is a damaged file."""
    rest = iter(files)
    with ThreadPoolExecutor(available_cores()) as pool:
        while some := list(itertools.islice(rest, TOGETHER)):
            photos = pool.map(decoded_or_none, [data for _, data in some])
            yield from zip([name for name, _ in some], photos, strict=True)


def decoded_or_none(data: bytes) -> Image.Image | None:
    try:
        return decode(data, SETTINGS, 2 * SIDE)
    except RequestError:
        return None
