"""Probabilities that are as sure as they are right: the temperature, and how far off they are."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional

BINS = 15
COLDEST, HOTTEST = 0.05, 20.0
GOLDEN = (5**0.5 - 1) / 2


def fit_temperature(logits: Tensor, targets: Tensor) -> float:
    """Find the temperature T at which softmax(logits / T) is likeliest under the targets.

    `logits` and `targets` are (N, classes), the targets distributions, such as one-hot labels. The loss has one
    minimum, which golden section search closes in on. After Guo et al., 2017, "On Calibration of Modern Neural
    Networks".
    """

    logits, targets = logits.double(), targets.double()  # near the minimum the loss is flat

    def loss(logarithm: float) -> float:
        return float(-(targets * functional.log_softmax(logits / math.exp(logarithm), dim=1)).sum(dim=1).mean())

    low, high = math.log(COLDEST), math.log(HOTTEST)
    while high - low > 1e-4:
        left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        low, high = (low, right) if loss(left) < loss(right) else (left, high)
    return math.exp((low + high) / 2)


def calibration_error(probabilities: Tensor, labels: Tensor, bins: int = BINS) -> float:
    """Expected calibration error: how far confidence is from accuracy, the mean over equal bins by their photos.

    `probabilities` is (N, classes) and `labels` (N,).
    """
    confidence, answer = probabilities.max(dim=1)
    right = (answer == labels).double()
    # The bins are open below and closed above: a confidence of 0.2 is in the third of fifteen.
    number = (confidence * bins).ceil().long().clamp(1, bins)
    error = 0.0
    for one in range(1, bins + 1):
        inside = number == one
        if not inside.any():
            continue
        error += float(inside.double().mean() * (right[inside].mean() - confidence[inside].double().mean()).abs())
    return error


def one_hot(labels: Tensor, classes: int) -> Tensor:
    return functional.one_hot(labels, classes).float()
