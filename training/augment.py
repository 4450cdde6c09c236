"""Views of photos, made on the device a batch at a time: crop, flip, colour, mixup and cutmix."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from training.photos import Photos

SMALLEST_AREA = 0.08
RATIOS = (3 / 4, 4 / 3)
# A crop is read at so many points a pixel in each direction and averaged: photos are stored at most twice as large
# as a view, so nothing between the points is missed.
OVERSAMPLING = 2
COLOUR = 0.4  # brightness, contrast and saturation change by up to so much
RED, GREEN, BLUE = 0.299, 0.587, 0.114  # ITU-R BT.601 luma, as Pillow's "L"


@dataclass(frozen=True)
class Boxes:
    """One crop a photo, each (N,), in pixels of the stored photo: its corner and its size, and whether to mirror it."""

    left: Tensor
    top: Tensor
    width: Tensor
    height: Tensor
    mirrored: Tensor


def view(photos: Photos, indices: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Make the batch that teacher and student both see: float32 (N, 3, side, side), values 0 to 1."""
    boxes = choose_boxes(photos.lengths[indices], photos.pixels.shape[2], photos.lying[indices], generator)
    views = crop(photos.pixels[indices], boxes, photos.lying[indices], side)
    return mix(change_colours(views, generator), generator)


def choose_boxes(lengths: Tensor, side: int, lying: Tensor, generator: torch.Generator) -> Boxes:
    """Choose crops of 8 % to 100 % of the area, 3:4 to 4:3 in the upright photo, inside its valid part."""
    count, device = len(lengths), lengths.device

    def uniform() -> Tensor:
        return torch.rand(count, generator=generator, device=device)

    area = lengths * side * (SMALLEST_AREA + (1 - SMALLEST_AREA) * uniform())
    low, high = map(math.log, RATIOS)
    ratio = torch.exp(low + (high - low) * uniform())
    ratio = torch.where(lying, 1 / ratio, ratio)
    width = torch.minimum((area * ratio).sqrt(), lengths)
    height = (area / ratio).sqrt().clamp(max=side)
    return Boxes(uniform() * (lengths - width), uniform() * (side - height), width, height, uniform() < 0.5)


def crop(pixels: Tensor, boxes: Boxes, lying: Tensor, side: int) -> Tensor:
    """Cut the boxes out of uint8 photos (N, 3, H, W) and resize them; photos that lie come out upright."""
    points = side * OVERSAMPLING
    steps = (torch.arange(points, device=pixels.device) + 0.5) / points

    def read_at(start: Tensor, length: Tensor, flip: Tensor) -> Tensor:
        share = torch.where(flip[:, None], 1 - steps, steps)
        # Half a pixel inside the box: interpolation takes nothing from beyond it.
        inside = torch.minimum((length[:, None] * share).clamp(min=0.5), length[:, None] - 0.5)
        return start[:, None] + inside

    # "Left to right" is what a person sees of the upright photo; a lying one is mirrored along its other side.
    across = read_at(boxes.left, boxes.width, boxes.mirrored & ~lying) * 2 / pixels.shape[3] - 1
    down = read_at(boxes.top, boxes.height, boxes.mirrored & lying) * 2 / pixels.shape[2] - 1
    shape = (len(pixels), points, points)
    turned = lying[:, None, None]
    x = torch.where(turned, across[:, :, None].expand(shape), across[:, None, :].expand(shape))
    y = torch.where(turned, down[:, None, :].expand(shape), down[:, :, None].expand(shape))
    sampled = functional.grid_sample(pixels.float() / 255, torch.stack((x, y), dim=3), align_corners=False)
    averaged: Tensor = functional.avg_pool2d(sampled, OVERSAMPLING)
    return averaged


def change_colours(views: Tensor, generator: torch.Generator) -> Tensor:
    """Change brightness, then contrast, then saturation, each view by factors of its own."""
    factors = 1 + COLOUR * (2 * torch.rand(3, len(views), 1, 1, 1, generator=generator, device=views.device) - 1)
    brightness, contrast, saturation = factors.unbind()
    views = (views * brightness).clamp(0, 1)
    means = _grey(views).mean(dim=(2, 3), keepdim=True)
    views = (means + (views - means) * contrast).clamp(0, 1)
    grey = _grey(views)
    return (grey + (views - grey) * saturation).clamp(0, 1)


def mix(views: Tensor, generator: torch.Generator) -> Tensor:
    """Blend a third of the views with their neighbour, paste a part of it into another third, leave the others.

    The share of the neighbour is uniform, as in function matching: a blend is one more image to agree on, and has
    no label to keep recognisable.
    """
    count, side = len(views), views.shape[3]
    kind, share, x, y = torch.rand(4, count, 1, 1, 1, generator=generator, device=views.device)
    others = views.roll(1, dims=0)
    places = (torch.arange(side, device=views.device) + 0.5) / side
    half = share.sqrt() / 2
    pasted = ((places[None, None, None, :] - x).abs() < half) & ((places[None, None, :, None] - y).abs() < half)
    weight = torch.where(kind < 1 / 3, share, torch.where(kind < 2 / 3, pasted.float(), 0.0))
    return views + (others - views) * weight


def _grey(views: Tensor) -> Tensor:
    return RED * views[:, 0:1] + GREEN * views[:, 1:2] + BLUE * views[:, 2:3]
