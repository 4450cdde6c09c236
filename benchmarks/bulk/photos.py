"""The photos to classify: few hundred different ones, of the sizes that collections have, again and again."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

from PIL import Image, ImageOps

from benchmarks.material import JPEG_QUALITY, parse_size

# Of ten photos, six as ImageNet's are on average, three of a web page and one of a camera, made smaller.
SIZES = ("500x375",) * 6 + ("1024x768",) * 3 + ("1600x1200",)
DISTINCT = 500


def make_photos(number: int, folder: Path, of: Path | None) -> list[Path]:
    """Write photos of SIZES; the same few hundred again under other names."""
    from skimage import data

    sources = list(islice(members(of), DISTINCT)) if of else [Image.fromarray(data.astronaut())]
    made: list[Path] = []
    for i, source in zip(range(min(number, DISTINCT)), cycle(sources), strict=False):
        photo = ImageOps.fit(source, parse_size(SIZES[i % len(SIZES)]), Image.Resampling.LANCZOS)
        made.append(folder / f"{i:06d}.jpg")
        photo.save(made[-1], quality=JPEG_QUALITY)
    for i in range(len(made), number):
        path = folder / f"{i:06d}.jpg"
        path.hardlink_to(made[i % DISTINCT])
        made.append(path)
    return made


def members(shard: Path) -> Iterator[Image.Image]:
    with tarfile.open(shard) as tar:
        for member in tar:
            if file := tar.extractfile(member):
                yield Image.open(io.BytesIO(file.read())).convert("RGB")
