"""Photos as the network sees them: int8 ranges are set on some, and int8 answers are compared with f32 on others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
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

# Real photos that scikit-image and scikit-learn ship. The last four are held back for the comparison.
PACKAGED = (
    ("skimage", "data/astronaut.png"),
    ("skimage", "data/chelsea.png"),
    ("skimage", "data/motorcycle_left.png"),
    ("skimage", "data/hubble_deep_field.jpg"),
    ("skimage", "data/camera.png"),
    ("skimage", "data/coins.png"),
    ("skimage", "data/grass.png"),
    ("skimage", "data/gravel.png"),
    ("skimage", "data/brick.png"),
    ("skimage", "data/retina.jpg"),
    ("skimage", "data/ihc.png"),
    ("skimage", "data/moon.png"),
    ("sklearn", "datasets/images/flower.jpg"),
    ("skimage", "data/coffee.png"),
    ("skimage", "data/rocket.jpg"),
    ("skimage", "data/clock_motion.png"),
    ("sklearn", "datasets/images/china.jpg"),
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

    def first(self, count: int) -> Photos:
        """Return `count` photos of each batch."""
        return Photos(self.calibration[:count], self.comparison[:count], self.source)


def from_folder(folder: Path, spec: Preprocessing) -> Photos:
    """Read photos from a folder and its subfolders, at most MOST_PHOTOS of them, preprocessed as in serving.

    Half of them, but at most CALIBRATION_PHOTOS, are for calibration. The choice depends on the names alone.
    What cannot be read is left out, and said. Raises CommandError if fewer than LEAST_PHOTOS different ones are left.
    """
    if not folder.is_dir():
        raise CommandError(f"There is no folder {folder}: name one that holds photos with --calibrate.")
    files = list(map(Path, photos_in(str(folder), LeftOut())))
    order = np.random.default_rng(SEED).permutation(len(files))[:MOST_PHOTOS]
    pixels, unread = [], LeftOut()
    for index in order:
        try:
            pixels.append(pixels_of(files[index].read_bytes(), spec))
        except (OSError, RequestError) as error:
            unread.add(f"{files[index]} ({reason_of(error)})")
    if unread.count:
        warn(f"Not calibrated on, since they cannot be read: {unread.names}.")
    different = list({one.tobytes(): one for one in pixels}.values())
    if len(different) < LEAST_PHOTOS:
        raise CommandError(
            f"int8 needs {LEAST_PHOTOS} different photos at least ({2 * CALIBRATION_PHOTOS} are better), and {folder} "
            f"holds {len(different)}: add photos like those that the model will be asked about, or leave out "
            "--calibrate."
        )
    split = min(len(different) // 2, CALIBRATION_PHOTOS)
    return Photos(np.stack(different[:split]), np.stack(different[split:]), f"{len(different)} photos of {folder.name}")


def from_packages(spec: Preprocessing) -> Photos:
    """Cut random crops out of the photos that scikit-image and scikit-learn ship, for a build without a folder.

    Raises CommandError if these packages are not installed.
    """
    images = [Image.open(_packaged(package, name)).convert("RGB") for package, name in PACKAGED]
    return Photos(
        _crops(images[:-HELD_BACK], spec, SEED),
        _crops(images[-HELD_BACK:], spec, SEED + 1),
        f"crops of {len(PACKAGED)} photos that scikit-image and scikit-learn ship",
    )


def _packaged(package: str, name: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise CommandError(
            f"{package} is not installed, whose photos int8 is calibrated on: run pip install -e '.[int8]', or "
            "name a folder of photos with --calibrate."
        )
    return Path(spec.origin).parent / name


def _crops(images: Sequence[Image.Image], spec: Preprocessing, seed: int) -> NDArray[np.uint8]:
    """Cut CROPS squares of random size and place, each photo in its turn, half of them mirrored."""
    rng = np.random.default_rng(seed)
    resampling = Image.Resampling[spec.interpolation.upper()]
    crops = []
    for number in range(CROPS):
        image = images[number % len(images)]
        side = max(LEAST_CROP_SIDE, int(min(image.size) * rng.uniform(LEAST_CROP_SHARE, 1) ** 0.5))
        left, top = (int(rng.integers(0, length - side + 1)) for length in image.size)
        box = (left, top, left + side, top + side)
        crop = np.asarray(image.resize((spec.crop, spec.crop), resampling, box=box))
        crops.append(crop[:, ::-1] if rng.random() < 0.5 else crop)
    return np.stack(crops)
