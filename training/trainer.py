"""One step after the other: views, the teacher's lesson, the student's error, the weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from densenet_serving.errors import CommandError
from training import views
from training.checkpoints import Saved, part
from training.photos import Photos
from training.recipe import CHAINED, FORCED, FREE, Recipe, seed_of
from training.student import Student, shrink
from training.teacher import CHANNELS, Lesson, Teacher

SETTLING = 512  # views that give the mean and the deviation of the teacher's maps
EVERY = 4  # steps between updates of the weights' average


@dataclass
class Errors:
    """Means over the views so far: squared errors of the four maps, KL divergence, agreement with the teacher."""

    sums: Tensor
    batches: int = 0

    @classmethod
    def none(cls) -> Errors:
        return cls(torch.zeros(len(CHANNELS) + 2))

    def add(self, maps: list[Tensor], divergence: Tensor, agreement: Tensor) -> None:
        self.sums += torch.stack([*maps, divergence, agreement]).detach().cpu()
        self.batches += 1

    def means(self) -> list[float]:
        return [round(value, 4) for value in (self.sums / max(1, self.batches)).tolist()]


class Trainer:
    """A student at some step. What is random in a step follows from the seed and the step, so none of it is saved."""

    def __init__(
        self, student: Student, teacher: Teacher, photos: Photos, recipe: Recipe, rank: int, ranks: int
    ) -> None:
        self.student = channels_last(student.to(teacher.device)).train()
        self.teacher, self.photos, self.recipe = teacher, photos, recipe
        self.rank, self.ranks = rank, ranks
        self.step = self.views = self.stage = self.entered = 0
        self.seconds = 0.0  # of all sessions
        self.errors = Errors.none()
        self._begin_stage()

    def settle(self) -> None:
        """Measure the teacher's maps, at the very start."""
        rng = np.random.default_rng(seed_of("settle", self.recipe.seed))
        indices = rng.integers(0, len(self.photos), SETTLING)
        seen = views.batch(self.photos, indices, self.recipe.stages[0].teacher_side, rng)
        self.teacher.normalize_by(seen.to(self.teacher.device))

    def advance(self) -> None:
        """Enter the stage that the views have reached."""
        reached, _ = self.recipe.stage_at(self.views)
        while self.stage < reached:
            self.stage += 1
            self.entered = self.step
            self._begin_stage()

    def _begin_stage(self) -> None:
        if self.stage >= FREE and len(self.student.from_maps):
            self.student.fold()
        self.parameters = dict(self.student.named_parameters())
        # Biases and batch normalization are not pulled towards zero.
        decaying = [one for one in self.parameters.values() if one.ndim > 1]
        others = [one for one in self.parameters.values() if one.ndim <= 1]
        groups = [{"params": decaying, "weight_decay": self.recipe.weight_decay}, {"params": others, "weight_decay": 0}]
        self.optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.99), fused=True)
        self.average = {name: one.detach().clone() for name, one in self.parameters.items()}

    def learn(self) -> None:
        """Compute the gradients of this process's share of a batch."""
        for one in self.parameters.values():
            one.grad = None
        stage = self.recipe.stages[self.stage]
        count = max(1, self.recipe.batch // self.ranks // self.recipe.micro)
        for number in range(count):
            seed = seed_of("views", self.recipe.seed, self.step, self.rank, number)
            rng = np.random.default_rng(seed)
            torch.manual_seed(seed)
            indices = self.photos.draw(self.recipe.micro, rng)
            seen = views.batch(self.photos, indices, stage.teacher_side, rng).to(self.teacher.device)
            lesson = self.teacher(seen)
            smaller = functional.interpolate(seen, (stage.side, stage.side), mode="bilinear", antialias=True)
            loss = self._loss(smaller, lesson)
            torch.autograd.backward(loss / count)
        if not torch.isfinite(loss):
            raise CommandError(f"The loss is {loss.item()} at step {self.step}: begin again with another --run.")

    def _loss(self, seen: Tensor, lesson: Lesson) -> Tensor:
        with torch.autocast(seen.device.type, torch.bfloat16, enabled=has_bf16(seen.device)):
            predicted, logits = self.student(seen, lesson.maps if self.stage == FORCED else None)
        targets = [shrink(lesson.maps[k], predicted[k]) for k in range(3)] + lesson.maps[3:]
        errors = [functional.mse_loss(one.float(), target) for one, target in zip(predicted, targets, strict=True)]
        ours = functional.log_softmax(logits.float(), dim=1)
        divergence = functional.kl_div(ours, lesson.answers, reduction="batchmean", log_target=True)
        agreement = (ours.argmax(1) == lesson.answers.argmax(1)).float().mean()
        self.errors.add(errors, divergence, agreement)
        # While sections learn apart the maps are all that the lower ones learn from.
        return divergence + (4.0 if self.stage <= CHAINED else 1.0) * torch.stack(errors).sum()

    def gradients(self) -> Iterator[Tensor]:
        return (one.grad if one.grad is not None else torch.zeros_like(one) for one in self.parameters.values())

    def apply(self) -> None:
        """Change the weights by their gradients, which by now are those of the whole batch."""
        rate = self.recipe.learning_rate(self.views, self.step - self.entered)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        nn.utils.clip_grad_norm_(self.parameters.values(), self.recipe.clip)
        self.optimizer.step()
        self.step += 1
        self.views += self.recipe.batch
        if self.step % EVERY == 0:
            young = self.step - self.entered
            decay = min(self.recipe.averaging, (1 + young) / (10 + young)) ** EVERY
            now = [one.detach() for one in self.parameters.values()]
            torch._foreach_lerp_(list(self.average.values()), now, 1 - decay)
        self.advance()

    def state(self) -> tuple[Saved, dict[str, Tensor]]:
        """Everything that is needed to continue."""
        tensors: dict[str, Tensor] = {f"student.{name}": one for name, one in self.parameters.items()}
        tensors |= {f"average.{name}": one for name, one in self.average.items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{key}": one for key, one in moments.items()}
        for k in range(len(CHANNELS)):
            tensors |= {f"mean.{k}": self.teacher.mean[k], f"deviation.{k}": self.teacher.deviation[k]}
        recipe = json.loads(json.dumps(asdict(self.recipe)))  # as it will be read
        return Saved(self.step, self.views, self.stage, self.entered, self.seconds, recipe), tensors

    def restore(self, saved: Saved, tensors: dict[str, Tensor]) -> None:
        """Continue from a state. Raises CommandError if its recipe differs in more than the number of views."""
        for name, now in json.loads(json.dumps(asdict(self.recipe))).items():
            if name != "views" and saved.recipe.get(name) != now:
                raise CommandError(
                    f"The checkpoint is of another training: {name} was {saved.recipe.get(name)} and is {now} now. "
                    "Give the same options, or another --run."
                )
        self.step, self.views, self.stage, self.entered = saved.step, saved.views, saved.stage, saved.entered
        self.seconds = saved.seconds
        self._begin_stage()
        with torch.no_grad():
            for name, one in self.parameters.items():
                one.copy_(tensors[f"student.{name}"])
                self.average[name].copy_(tensors[f"average.{name}"])
        self._restore_moments(part(tensors, "optimizer"))
        device = self.teacher.device
        self.teacher.mean = [tensors[f"mean.{k}"].to(device) for k in range(len(CHANNELS))]
        self.teacher.deviation = [tensors[f"deviation.{k}"].to(device) for k in range(len(CHANNELS))]

    def _restore_moments(self, tensors: dict[str, Tensor]) -> None:
        ordered = [one for group in self.optimizer.param_groups for one in group["params"]]
        state: dict[int, dict[str, Tensor]] = {}
        for name, one in tensors.items():
            index, key = name.split(".")
            like = ordered[int(index)]
            # In the memory layout of its weight, which the file does not keep.
            fitting = torch.empty_like(like).copy_(one) if one.shape == like.shape else one
            state.setdefault(int(index), {})[key] = fitting
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": state})


def channels_last(student: Student) -> Student:
    # torch's own annotations miss this form of the call.
    return student.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def has_bf16(device: torch.device) -> bool:
    return device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()
