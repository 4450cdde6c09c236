"""Who is matched: a network, or several whose probabilities are averaged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from handler.card import Preprocessing
from scripts.errors import CommandError
from scripts.model import checkpoint
from training import networks
from training.devices import channels_last


class Teacher(Protocol):
    """From RGB views, float (N, 3, side, side), 0 to 1, of any side, to log-probabilities, float32 (N, classes)."""

    def __call__(self, views: Tensor) -> Tensor: ...


class NetworkTeacher:
    """One network, which gets the views at its own input side and normalisation."""

    def __init__(self, backbone: nn.Module, head: nn.Linear, spec: Preprocessing, device: torch.device) -> None:
        self.backbone = channels_last(backbone.eval().requires_grad_(False).to(device))
        self.head = head.eval().requires_grad_(False).to(device)
        self.side = spec.crop
        self.mean = torch.tensor(spec.mean, device=device).view(1, 3, 1, 1)
        self.std = torch.tensor(spec.std, device=device).view(1, 3, 1, 1)
        self.device = device

    @torch.no_grad()
    def __call__(self, views: Tensor) -> Tensor:
        if views.shape[3] != self.side:
            smaller = views.shape[3] > self.side
            size = (self.side, self.side)
            views = functional.interpolate(views, size, mode="bicubic", antialias=smaller).clamp(0, 1)
        inputs = ((views - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            features = self.backbone(inputs)
            logits = self.head(functional.adaptive_avg_pool2d(features, 1).flatten(1))
        return functional.log_softmax(logits.float(), dim=1)


class Ensemble:
    """The mean of several teachers' probabilities."""

    def __init__(self, teachers: Sequence[Teacher]) -> None:
        self.teachers = teachers

    def __call__(self, views: Tensor) -> Tensor:
        answers = torch.stack([teacher(views) for teacher in self.teachers])
        return answers.logsumexp(dim=0) - math.log(len(self.teachers))


def load(described: str, device: torch.device) -> tuple[Teacher, int]:
    """Build the teachers of a comma-separated list of NAME or NAME=PATH; returns them and the number of classes.

    Raises CommandError where one cannot be had, or where they know different numbers of classes.
    """
    teachers: list[NetworkTeacher] = []
    for one in described.split(","):
        architecture, path = networks.find(one.strip())
        backbone, head = checkpoint.load_network(path, architecture)
        teachers.append(NetworkTeacher(backbone, head, architecture.preprocessing, device))
    classes = {teacher.head.out_features for teacher in teachers}
    if len(classes) > 1:
        raise CommandError(f"The teachers know different numbers of classes, {classes}: choose some that agree.")
    return (teachers[0] if len(teachers) == 1 else Ensemble(teachers)), classes.pop()
