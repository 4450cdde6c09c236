"""A student, a teacher and photos that are small enough for seconds."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from densenet_serving.build.vision import torchvision
from tests.pictures import encode, noise
from training import distill, finish, photos, student
from training.recipe import Recipe, Stage
from training.student import Student
from training.teacher import CHANNELS, Lesson, Teacher
from training.trainer import Trainer

CPU = torch.device("cpu")
CLASSES = 6
STAGES = tuple(Stage(name, 0.25, 32, 32, 5e-3, 5e-3) for name in ("forced", "chained", "free", "larger"))
RECIPE = Recipe(teachers="colors", views=96, batch=8, micro=4, averaging=0.9, stages=STAGES)


def tiny(classes: int = CLASSES) -> nn.Module:
    """A DenseNet of the same parts and names, with one layer in each block."""
    network: nn.Module = torchvision.models.DenseNet(
        growth_rate=8, block_config=(1, 1, 1, 1), num_init_features=8, bn_size=2, num_classes=classes
    )
    return network


class ColorTeacher(Teacher):
    """A teacher that knows the mean of each color: its maps and its answers follow from that alone."""

    def __init__(self, described: str = "colors", device: torch.device = CPU, threads: int = 1) -> None:
        self.device, self.classes = device, CLASSES
        self.mean = [torch.zeros(1)] * len(CHANNELS)
        self.deviation = [torch.ones(1)] * len(CHANNELS)

    def __call__(self, views: Tensor) -> Lesson:
        maps = [
            functional.avg_pool2d(views, stride).repeat(1, width // 3 + 1, 1, 1)[:, :width]
            for width, stride in zip(CHANNELS[:3], (8, 16, 32), strict=True)
        ]
        means = views.mean(dim=(2, 3))
        pooled = means.repeat(1, CHANNELS[3] // 3 + 1)[:, : CHANNELS[3]]
        answers = functional.log_softmax(8 * torch.cat((means, 1 - means), dim=1), dim=1)
        normalized = [
            (one - mean) / by for one, mean, by in zip([*maps, pooled], self.mean, self.deviation, strict=True)
        ]
        return Lesson(normalized, answers)


def write_photos(folder: Path, count: int = 40, size: tuple[int, int] = (48, 40)) -> Path:
    """Noise of one color each, in landscape and portrait."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        width, height = size if number % 2 else size[::-1]
        picture = noise(width, height, seed=number).point([number * 37 % 256 if i % 2 else i for i in range(256)] * 3)
        (folder / f"{number:04}.jpg").write_bytes(encode(picture))
    return folder


def make_trainer(folder: Path, cache: Path, recipe: Recipe = RECIPE, settled: bool = True) -> Trainer:
    """A trainer at its start; one that restores a checkpoint needs no measures of its teacher."""
    torch.manual_seed(1)
    one = Trainer(Student(tiny()), ColorTeacher(), photos.load([folder], cache), recipe, 0, 1)
    if settled:
        one.settle()
    return one


def simplify(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the commands this module's student, teacher and stages."""
    monkeypatch.setattr(student, "build", tiny)
    monkeypatch.setattr(distill, "Teacher", ColorTeacher)
    monkeypatch.setattr(finish, "Teacher", ColorTeacher)
    monkeypatch.setattr(distill, "Recipe", partial(Recipe, stages=STAGES))


def advance(trainer: Trainer, steps: int) -> Trainer:
    for _ in range(steps):
        trainer.learn()
        trainer.apply()
    return trainer
