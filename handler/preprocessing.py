"""Resize and crop an RGB image to the pixels the model sees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from handler.card import Preprocessing

# Past this ratio of long to short side only the part that survives the crop is resized: a 1 x 5000 image
# would become 255 x 1,275,000. Pillow rounds the corners of that part to float32 and may resize down before
# across, which moves some pixels by one or two gray levels; every ordinary photo is resized as a whole.
MAX_EXACT_ASPECT = 8


def preprocess(image: Image.Image, spec: Preprocessing) -> NDArray[np.uint8]:
    """Resize the shorter side to `spec.resize` and cut the center, as torchvision's Resize and CenterCrop do.

    Returns uint8 HWC, shape (crop, crop, 3). Normalization is part of the model's graph.
    """
    width, height = image.size
    shorter, longer = sorted(image.size)
    long_side = int(spec.resize * longer / shorter)
    resized = (spec.resize, long_side) if width <= height else (long_side, spec.resize)
    # torchvision's CenterCrop rounds half to even, and so does Python.
    left, top = (round((side - spec.crop) / 2) for side in resized)
    resampling = Image.Resampling[spec.interpolation.upper()]

    if longer <= MAX_EXACT_ASPECT * shorter:
        cropped = image.resize(resized, resampling).crop((left, top, left + spec.crop, top + spec.crop))
    else:
        across, down = width / resized[0], height / resized[1]
        part = (left * across, top * down, (left + spec.crop) * across, (top + spec.crop) * down)
        cropped = image.resize((spec.crop, spec.crop), resampling, box=part)
    return np.asarray(cropped)
