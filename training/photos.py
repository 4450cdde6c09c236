"""Photos to train on: found and read as `densenet bulk` does, decoded once into files that are mapped into memory."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track

from densenet_serving.bulk.filesystems import absolute
from densenet_serving.bulk.photos import Photo, Reader, Unreadable, find
from densenet_serving.console import err, warn
from densenet_serving.errors import CommandError
from densenet_serving.photo_files import LeftOut, expected
from handler.cores import available_cores
from handler.errors import RequestError
from handler.images import decode
from handler.settings import Settings

HELD_OUT_SHARE = 32  # one photo of so many calibrates instead of training
SIDE = 176  # pixels of the shorter side, as stored
LONGEST = math.ceil(SIDE * 4 / 3)  # longer photos lose both ends
SETTINGS = Settings(jpeg_decode="scaled")  # as a server may decode, and several times faster for large photos
TOGETHER = 64  # photos decoded at a time

Pixels = NDArray[np.uint8]
Named = tuple[str, Photo]  # a photo and its name in its source


class Photos:
    """The photos of several sources under one index."""

    def __init__(self, stored: Iterable[tuple[Pixels, list[int], list[bool]]], digest: str) -> None:
        """Take pixels (N, SIDE, LONGEST, 3) of each source, the columns that are photo, and which are transposed.

        A portrait is stored transposed, so that one width fits all. `digest` identifies the sources. Each photo has the
        same chance to be drawn until `weigh` is called.
        """
        self.digest = digest
        self._rows = [
            (pixels[place], length, is_transposed)
            for pixels, lengths, transposed in stored
            for place, (length, is_transposed) in enumerate(zip(lengths, transposed, strict=True))
        ]
        self.weigh(np.ones(len(self._rows)))

    def __len__(self) -> int:
        return len(self._rows)

    def weigh(self, weights: NDArray[np.float64]) -> None:
        """Set the chances of the photos, in proportion to weights (N,)."""
        self._up_to = np.cumsum(weights) / weights.sum()

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
        """Draw the indices of photos."""
        return np.searchsorted(self._up_to, rng.random(count), side="right").clip(max=len(self) - 1)

    def get(self, index: int) -> tuple[Pixels, bool]:
        """Return the pixels (SIDE, length, 3) of a photo, and whether it is transposed."""
        pixels, length, is_transposed = self._rows[index]
        return pixels[:, :length], is_transposed


def list_photos(sources: Iterable[Path]) -> list[Named]:
    """List the photos of folders and .tar files, one source after the other, each sorted by name.

    Raises CommandError where one is neither, or holds no photo.
    """
    named: list[Named] = []
    for source in sources:
        root = absolute(str(source))
        found = sorted(find(root, None, LeftOut()), key=lambda photo: photo.path)
        if not found:
            raise CommandError(f"{source} holds no photo: expected files ending in {expected()}.")
        named += [(photo.path.removeprefix(f"{root}/"), photo) for photo in found]
    return named


def read(photos: Sequence[Named]) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of each photo. What cannot be read is left out, and said."""
    unread = LeftOut()
    contents = Reader(None).read_all(photo for _, photo in photos)
    for (name, photo), content in zip(photos, contents, strict=True):
        if isinstance(content, Unreadable):
            unread.add(f"{photo.path} ({content.message})")
        else:
            yield name, content
    if unread.count:
        warn(f"Left out, since they cannot be read: {unread.names}.")


def is_held_out(name: str) -> bool:
    """Tell whether a photo fits the temperature and never trains: a share of the names, always the same ones."""
    return zlib.crc32(name.encode(errors="surrogateescape")) % HELD_OUT_SHARE == 0


def read_labelled(source: Path) -> list[tuple[int, bytes]]:
    """Return the class index and the bytes of every photo of a folder or .tar whose files are named by it: 0281.jpg.

    Raises CommandError where a name is no index.
    """
    photos = list_photos([source])
    for name, _ in photos:
        if not ((stem := PurePosixPath(name).stem).isascii() and stem.isdigit()):
            raise CommandError(
                f"{name} in {source} does not name a class: files must be named by class index, 0281.jpg."
            )
    return [(int(PurePosixPath(name).stem), data) for name, data in read(photos)]


def load(sources: Sequence[Path], cache: Path) -> Photos:
    """Open the photos of folders and .tar files that are not held out; decode what `cache` does not hold yet.

    A damaged file is left out and counted in a warning. Raises CommandError if a source is none, or if fewer than two
    photos are left.
    """
    digest = hashlib.sha256("".join(map(_digest, sources)).encode()).hexdigest()[:16]
    photos = Photos((_open(source, cache) for source in sources), digest)
    if len(photos) < 2:
        raise CommandError(f"{len(photos)} photo(s) can be trained on, and two are the least: name more.")
    return photos


def _open(source: Path, cache: Path) -> tuple[Pixels, list[int], list[bool]]:
    path = cache / f"{_digest(source)}.json"
    if not path.exists():
        _store(source, path)
    index = json.loads(path.read_text())
    shape = (len(index["lengths"]), SIDE, LONGEST, 3)
    pixels = np.memmap(path.with_suffix(".u8"), np.uint8, "r", shape=shape) if shape[0] else np.zeros(shape, np.uint8)
    return pixels, index["lengths"], index["transposed"]


def _digest(source: Path) -> str:
    """Identify what a source holds: a .tar file by its size and time, a folder by those of its files."""
    files = sorted(source.rglob("*")) if source.is_dir() else [source]
    facts = [(str(one), one.stat().st_size, one.stat().st_mtime_ns) for one in files if one.is_file()]
    return hashlib.sha256(repr((SIDE, LONGEST, source.resolve(), facts)).encode()).hexdigest()[:16]


def _store(source: Path, index: Path) -> None:
    photos = [(name, photo) for name, photo in list_photos([source]) if not is_held_out(name)]
    index.parent.mkdir(parents=True, exist_ok=True)
    lengths, transposed, damaged = [], [], LeftOut()
    temporary = index.with_suffix(".part")
    bar = track(_decoded(read(photos)), f"Decoding {source.name}", len(photos), console=err, transient=True)
    try:
        with temporary.open("wb") as out:
            for name, photo in bar:
                if photo is None:
                    damaged.add(name)
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
    if damaged.count:
        warn(f"{damaged.count} damaged photo(s) in {source} were left out: {damaged.names}.")


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


def _decoded(files: Iterator[tuple[str, bytes]]) -> Iterator[tuple[str, Image.Image | None]]:
    """Decode on all cores, in order, with few photos in memory at a time; None is a damaged file."""
    with ThreadPoolExecutor(available_cores()) as pool:
        while some := list(itertools.islice(files, TOGETHER)):
            yield from zip(
                [name for name, _ in some], pool.map(decoded_or_none, [data for _, data in some]), strict=True
            )


def decoded_or_none(data: bytes) -> Image.Image | None:
    try:
        return decode(data, SETTINGS, 2 * SIDE)
    except RequestError:
        return None
