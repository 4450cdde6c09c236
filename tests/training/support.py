"""A student, a teacher and photos that are small enough for seconds."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from scripts.model.vision import torchvision
from tests.pictures import encode, noise
from training import photos
from training.photos import Photos
from training.trainer import Recipe, Trainer

CPU = torch.device("cpu")
CLASSES = 6
SIDE = 32
RECIPE = Recipe(teachers="colours", sides=(32, 48), batch=8, peak=5e-3, averaging=0.9)


def tiny(classes: int = CLASSES) -> nn.Module:
    """A DenseNet of the same parts and names, and 14,000 weights."""
    network: nn.Module = torchvision.models.DenseNet(
        growth_rate=4, block_config=(1, 1), num_init_features=8, bn_size=2, num_classes=classes
    )
    return network


def teach_colours(views: Tensor) -> Tensor:
    """A teacher that goes by the mean of each colour, and by its opposite."""
    means = views.mean(dim=(2, 3))
    return functional.log_softmax(8 * torch.cat((means, 1 - means), dim=1), dim=1)


def write_photos(folder: Path, count: int = 40, size: tuple[int, int] = (48, 40)) -> Path:
    """Noise of a colour each, in landscape and portrait."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        width, height = size if number % 2 else size[::-1]
        picture = noise(width, height, seed=number).point([number * 37 % 256 if i % 2 else i for i in range(256)] * 3)
        (folder / f"{number:04}.jpg").write_bytes(encode(picture))
    return folder


def load(folder: Path) -> Photos:
    return photos.load([folder], SIDE, CPU)


def make_trainer(folder: Path, recipe: Recipe = RECIPE) -> Trainer:
    from training.student import SPEC

    torch.manual_seed(1)
    return Trainer(tiny(), teach_colours, load(folder), recipe, SPEC)
