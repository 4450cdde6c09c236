"""How good answers are: accuracy, agreement with the teacher, and probabilities that are as sure as they are right."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from densenet_serving.errors import CommandError

BINS = 15
COLDEST, HOTTEST = 0.05, 20.0
GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Figures:
    """Shares are 0 to 1. `ece` is the expected calibration error in 15 bins; None is what nothing is known of."""

    model: str
    photos: int
    top1: float
    top5: float
    agreement: float | None
    teacher_top1: float | None
    ece: float
    temperature: float | None
    ece_calibrated: float | None


def measure(name: str, logits: Tensor, labels: Tensor, teacher: Tensor | None, temperature: float | None) -> Figures:
    """Compute the figures from logits (N, classes), labels (N,) and the teacher's probabilities (N, classes)."""
    if int(labels.max()) >= logits.shape[1]:
        raise CommandError(f"A photo is of class {int(labels.max())} and the model has {logits.shape[1]} classes.")
    top1, top5 = accuracy(logits, labels)
    theirs = None if teacher is None else teacher.argmax(dim=1)
    return Figures(
        model=name,
        photos=len(labels),
        top1=top1,
        top5=top5,
        agreement=None if theirs is None else accuracy(logits, theirs)[0],
        teacher_top1=None if teacher is None else accuracy(teacher, labels)[0],
        ece=calibration_error(logits.softmax(dim=1), labels),
        temperature=temperature,
        ece_calibrated=temperature and calibration_error((logits / temperature).softmax(dim=1), labels),
    )


def accuracy(answers: Tensor, labels: Tensor) -> tuple[float, float]:
    """Return top-1 and top-5 of answers (N, classes), which may be logits, on labels (N,)."""
    right = answers.topk(min(5, answers.shape[1]), dim=1).indices == labels[:, None]
    return float(right[:, 0].double().mean()), float(right.any(dim=1).double().mean())


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Find the temperature T at which softmax(logits / T) is likeliest under the labels (N,).

    The loss has one minimum, which golden section search closes in on. After Guo et al., 2017, "On Calibration of
    Modern Neural Networks".
    """

    def loss(logarithm: float) -> float:
        return float(functional.cross_entropy(logits.double() / math.exp(logarithm), labels))  # it is flat in float32

    low, high = math.log(COLDEST), math.log(HOTTEST)
    while high - low > 1e-4:
        left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        low, high = (low, right) if loss(left) < loss(right) else (left, high)
    return math.exp((low + high) / 2)


def calibration_error(probabilities: Tensor, labels: Tensor, bins: int = BINS) -> float:
    """Expected calibration error: how far confidence is from accuracy, the mean over equal bins by their photos.

    `probabilities` is (N, classes) and `labels` (N,).
    """
    confidence, answer = probabilities.double().max(dim=1)
    # The bins are open below and closed above: a confidence of 0.2 is in the third of fifteen.
    number = (probabilities.amax(dim=1) * bins).ceil().long().clamp(1, bins)
    gaps = torch.zeros(bins + 1, dtype=torch.double).index_add_(0, number, (answer == labels).double() - confidence)
    return float(gaps.abs().sum()) / len(labels)
