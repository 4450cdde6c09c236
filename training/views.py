"""Views of photos: crop, flip, color, mixup and cutmix, the same pixels for teacher and student."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from training.photos import Photos

SMALLEST_AREA = 0.25  # of a photo, in a crop
RATIOS = (3 / 4, 4 / 3)
BRIGHTNESS, CONTRAST, SATURATION = 0.3, 0.4, 0.4  # each changes by up to this share
MIXED = 0.1  # the share of views that are blended with their neighbor, and of those that get a part of it
LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as Pillow's "L"


def batch(photos: Photos, indices: Iterable[int], side: int, rng: np.random.Generator) -> Tensor:
    """Make one view of each photo: float32 (N, 3, side, side), values 0 to 1."""
    pixels = np.stack([crop(photos, int(index), side, rng) for index in indices])
    return mix(change_colors(torch.from_numpy(pixels).permute(0, 3, 1, 2).float(), rng), rng)


def crop(photos: Photos, index: int, side: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Cut a random part out of a photo, resize it to (side, side, 3), and mirror every second one."""
    pixels, is_transposed = photos.get(index)
    height, width = pixels.shape[:2]
    area = height * width * rng.uniform(SMALLEST_AREA, 1)
    ratio = math.exp(rng.uniform(math.log(RATIOS[0]), math.log(RATIOS[1])))
    if is_transposed:
        ratio = 1 / ratio
    across, down = min(math.sqrt(area * ratio), width), min(math.sqrt(area / ratio), height)
    left, top = rng.random() * (width - across), rng.random() * (height - down)
    image = Image.fromarray(np.ascontiguousarray(pixels))
    box = (left, top, left + across, top + down)
    view = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, box))
    if is_transposed:
        view = view.transpose(1, 0, 2)
    return view[:, ::-1] if rng.random() < 0.5 else view


def change_colors(views: Tensor, rng: np.random.Generator) -> Tensor:
    """Change brightness, contrast and saturation: float32 (N, 3, H, W), 0 to 255 in and 0 to 1 out.

    All three are linear in a pixel, so they are one 3 x 3 matrix and one constant for each view.
    """
    count = len(views)
    brightness, contrast, saturation = (
        rng.uniform(1 - by, 1 + by, (count, 1, 1)) for by in (BRIGHTNESS, CONTRAST, SATURATION)
    )
    flat = views.reshape(count, 3, -1)
    gray = (flat.mean(dim=2).numpy() @ LUMA)[:, None, None] * brightness / 255
    matrices = (saturation * np.eye(3) + (1 - saturation) * LUMA) * contrast * brightness / 255
    constants = np.broadcast_to(gray * (1 - contrast), (count, 3, 1))
    changed = torch.baddbmm(torch.tensor(constants).float(), torch.tensor(matrices).float(), flat)
    return changed.clamp_(0, 1).view_as(views)


def mix(views: Tensor, rng: np.random.Generator) -> Tensor:
    """Blend some views with their neighbor (mixup), and paste a square of it into others (cutmix)."""
    mixed, side = views.clone(), views.shape[3]
    for place, kind in enumerate(rng.random(len(views))):
        neighbor = views[place - 1]
        if kind < MIXED:
            mixed[place].lerp_(neighbor, rng.random())
        elif kind < 2 * MIXED:
            half = side * math.sqrt(rng.random()) / 2
            x, y = side * rng.random(2)
            rows, columns = (slice(max(0, int(at - half)), int(at + half)) for at in (y, x))
            mixed[place, :, rows, columns] = neighbor[:, rows, columns]
    return mixed
