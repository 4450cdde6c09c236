"""Photos as the network sees them: int8 ranges are set on some, and int8 answers are compared with f32 on others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from densenet_serving.console import warn
from densenet_serving.errors import CommandError, reason_of
from densenet_serving.photo_files import LeftOut, photos_in
from handler.card import Preprocessing
from handler.errors import RequestError
from handler.images import pixels_of

# EfficientNet-Lite0 calibrated on 50, 100 and 300 photos agrees with f32 on 95, 97 and 97 % of others (docs/int8.md).
CALIBRATION_PHOTOS = 300
MOST_PHOTOS = 1000
LEAST_PHOTOS = 200
SEED = 0

# Real photos that packages ship, each group as its package, its folder and names. The last four are held back for the
# comparison.
PACKAGED = (
    ("skimage", "data", "astronaut.png chelsea.png motorcycle_left.png hubble_deep_field.jpg camera.png coins.png"),
    ("skimage", "data", "grass.png gravel.png brick.png retina.jpg ihc.png moon.png"),
    ("sklearn", "datasets/images", "flower.jpg"),
    ("skimage", "data", "coffee.png rocket.jpg clock_motion.png"),
    ("sklearn", "datasets/images", "china.jpg"),
)
HELD_BACK = 4
CROPS = 300
LEAST_CROP_SHARE = 0.1  # of the photo's largest square, in area
LEAST_CROP_SIDE = 96  # pixels: a smaller crop would be mostly the resize's blur


@dataclass(frozen=True)
class Photos:
    """Two batches of uint8 RGB, (n, side, side, 3), that share no photo, and where they came from."""

    calibration: NDArray[np.uint8]
    comparison: NDArray[np.uint8]
    source: str


def from_folder(folder: Path, spec: Preprocessing, least: int = LEAST_PHOTOS, most: int = MOST_PHOTOS) -> Photos:
    """Read photos from a folder and its subfolders, at most `most` of them, preprocessed as in serving.

    Half of them, but at most CALIBRATION_PHOTOS, are for calibration. The choice depends on the names alone.
    What cannot be read is left out, and said. Raises CommandError if fewer than `least` different ones are left.
    """
    files = list(map(Path, photos_in(str(folder), LeftOut())))
    different, unread = {}, LeftOut()
    for index in np.random.default_rng(SEED).permutation(len(files))[:most]:
        try:
            pixels = pixels_of(files[index].read_bytes(), spec)
            different[pixels.tobytes()] = pixels
        except (OSError, RequestError) as error:
            unread.add(f"{files[index]} ({reason_of(error)})")
    if unread.count:
        warn(f"Not calibrated on, since they cannot be read: {unread.names}.")
    if len(different) < least:
        raise CommandError(
            f"int8 needs {least} different photos at least ({2 * CALIBRATION_PHOTOS} are better), and {folder} holds "
            f"{len(different)}: add photos like those that the model will be asked about, or leave out --calibrate."
        )
    photos = np.stack(list(different.values()))
    split = min(len(photos) // 2, CALIBRATION_PHOTOS)
    return Photos(photos[:split], photos[split:], f"{len(photos)} photos of {folder.name}")


def from_packages(spec: Preprocessing, crops: int | None = None) -> Photos:
    """Cut random crops out of packaged photos, `crops` for each batch, for a build without a folder.

    Raises CommandError if these packages are not installed.
    """
    files = [_packaged(package) / folder / name for package, folder, names in PACKAGED for name in names.split()]
    images = [Image.open(file).convert("RGB") for file in files]
    return Photos(
        _crops(images[:-HELD_BACK], spec, SEED, crops or CROPS),
        _crops(images[-HELD_BACK:], spec, SEED + 1, crops or CROPS),
        f"crops of {len(images)} photos that scikit-image and scikit-learn ship",
    )


def _packaged(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise CommandError(
            f"{package} is not installed, whose photos int8 is calibrated on: run pip install -e '.[int8]', or "
            "name a folder of photos with --calibrate."
        )
    return Path(spec.origin).parent


def _crops(images: Sequence[Image.Image], spec: Preprocessing, seed: int, count: int) -> NDArray[np.uint8]:
    """Cut `count` squares of random size and place, each photo in its turn, half of them mirrored."""
    rng = np.random.default_rng(seed)
    resampling = Image.Resampling[spec.interpolation.upper()]
    crops = []
    for image in islice(cycle(images), count):
        side = max(LEAST_CROP_SIDE, int(min(image.size) * rng.uniform(LEAST_CROP_SHARE, 1) ** 0.5))
        left, top = (int(rng.integers(0, length - side + 1)) for length in image.size)
        box = (left, top, left + side, top + side)
        crop = np.asarray(image.resize((spec.crop, spec.crop), resampling, box=box))
        crops.append(crop[:, ::-1] if rng.random() < 0.5 else crop)
    return np.stack(crops)
