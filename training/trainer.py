"""One step after the other: a view, the teacher's answer, the student's, and the distance between them."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from handler.card import Preprocessing
from training import schedule
from training.augment import view
from training.devices import channels_last
from training.photos import Photos
from training.schedule import Pace, Sides
from training.teachers import Teacher

CLIP = 1.0  # the gradient's norm at most, as in Beyer et al. 2022


@dataclass(frozen=True)
class Recipe:
    """What the weights depend on, besides the photos and the time. Sides in pixels.

    `softening` is the temperature of both distributions in the loss; `averaging` the decay of the weights' average.
    """

    teachers: str = "efficientnet_lite0,efficientnet_lite2"
    sides: tuple[int, ...] = (128, 160, 176)
    batch: int = 512
    peak: float = 2e-3
    weight_decay: float = 0.02
    softening: float = 1.0
    averaging: float = 0.999
    seed: int = 0


class Trainer:
    """A student on its way. What is random in step k follows from the seed and k, so no state of it need be kept."""

    def __init__(
        self,
        student: nn.Module,
        teacher: Teacher,
        photos: Photos,
        recipe: Recipe,
        spec: Preprocessing,
        *,
        compiled: bool = False,
    ) -> None:
        self.device = photos.pixels.device
        self.student = channels_last(student.to(self.device)).train()
        self.forward = torch.compile(self.student) if compiled else self.student
        self.teacher, self.photos, self.recipe = teacher, photos, recipe
        self.sides = Sides(recipe.sides)
        self.parameters = dict(self.student.named_parameters())
        self.average = {name: one.detach().clone() for name, one in self.parameters.items()}
        # Biases and batch normalisation are not pulled towards zero.
        decaying = [one for one in self.parameters.values() if one.ndim > 1]
        others = [one for one in self.parameters.values() if one.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decaying, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}],
            lr=recipe.peak,
            fused=self.device.type == "cuda",
        )
        self.mean = torch.tensor(spec.mean, device=self.device).view(1, 3, 1, 1)
        self.std = torch.tensor(spec.std, device=self.device).view(1, 3, 1, 1)
        self.generator = torch.Generator(self.device)
        self.step = 0
        self.progress = 0.0

    def run_step(self, pace: Pace) -> Tensor:
        """Train on one batch. Returns the loss, a scalar still on the device."""
        self.generator.manual_seed(seed_of("views", self.recipe.seed, self.step))
        indices = batch_indices(len(self.photos), self.recipe.batch, self.step, self.recipe.seed).to(
            self.device, non_blocking=True
        )
        views = view(self.photos, indices, self.sides.at(self.progress), self.generator)
        for group in self.optimizer.param_groups:
            group["lr"] = schedule.learning_rate(self.progress, self.recipe.peak)
        loss = distance(self.answer(views), self.teacher(views), self.recipe.softening)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.parameters.values(), CLIP)
        self.optimizer.step()
        self._follow()
        self.progress = pace.advance(self.progress, self.step)
        self.step += 1
        return loss.detach()

    def answer(self, views: Tensor) -> Tensor:
        """The student's logits for views of 0 to 1, float32 (N, classes)."""
        inputs = ((views - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            logits: Tensor = self.forward(inputs)
        return logits.float()

    def _follow(self) -> None:
        # A young average would else be made of the random start for a thousand steps.
        decay = min(self.recipe.averaging, (1 + self.step) / (10 + self.step))
        for name, one in self.parameters.items():
            self.average[name].lerp_(one.detach(), 1 - decay)


def distance(student: Tensor, teacher: Tensor, softening: float) -> Tensor:
    """KL divergence of the teacher's softened distribution from the student's, mean over the batch.

    Takes logits or log-probabilities, (N, classes) both; its gradient does not shrink with the softening.
    """
    ours, theirs = (functional.log_softmax(one / softening, dim=1) for one in (student, teacher))
    return functional.kl_div(ours, theirs, reduction="batchmean", log_target=True) * softening**2


def batch_indices(count: int, batch: int, step: int, seed: int) -> Tensor:
    """Choose the photos of a step: all of them in a new order, again and again, a batch at a time."""
    positions = torch.arange(step * batch, (step + 1) * batch)
    rounds = positions // count
    orders = [
        _order(count, number, seed)[positions[rounds == number] % count] for number in sorted(set(rounds.tolist()))
    ]
    return torch.cat(orders)


def seed_of(*what: object) -> int:
    """A seed of 32 bits for every purpose: a generator on the CPU ignores the higher ones."""
    return zlib.crc32(repr(what).encode())


@lru_cache(maxsize=2)
def _order(count: int, number: int, seed: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed_of("order", seed, number)))
