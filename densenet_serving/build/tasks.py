"""What a head's outputs mean: one of the classes, or each of them by itself. A checkpoint rarely says it."""

from __future__ import annotations

import copy
import re

import torch
from torch import nn

from densenet_serving.build.checkpoint import Weights
from densenet_serving.errors import WeightsError
from handler.card import Task

ASK = "--task multi-label if each output is a class of its own (sigmoid), or --task single-label if one is (softmax)"
SIGMOID = re.compile(r"(?i)sigmoid")
SOFTMAX = re.compile(r"(?i)softmax")


def decide(given: Task | None, weights: Weights, classifier_key: str, outputs: int) -> Task:
    """Return the task that a person gave, or that the checkpoint shows, or single-label.

    Raises WeightsError where nobody can know and a guess would be wrong for some: one output, whose softmax is always
    1, and a head that does not end in its linear layer.
    """
    if given:
        return given
    name = classifier_key.removesuffix(".weight")
    shown = _shown(weights, name)
    if outputs == 1 and shown != "multi-label":
        raise WeightsError(
            f"{weights.path} has one output, and what it means is not in the file: give --task single-label and two "
            "names (--labels), of which the second is that of a high output, or --task multi-label and one name."
        )
    if shown is None and (after := _after_head(weights, name)):
        raise WeightsError(
            f"{weights.path} has a head that does not end in its linear layer ({after}), and what follows it is not "
            f"in the file: give {ASK}."
        )
    return shown or "single-label"


def as_two(head: nn.Linear, task: Task) -> nn.Linear:
    """Return a copy of a head of one output with two: the first for what the output denies.

    Both tasks keep the meaning of the output z: softmax(-z/2, z/2) and sigmoid(-z), sigmoid(z) are 1 - p and p.
    """
    share = 0.5 if task == "single-label" else 1.0
    doubled = copy.deepcopy(head)
    doubled.out_features = 2
    for name, value in (("weight", head.weight), ("bias", head.bias)):
        if value is not None:
            setattr(doubled, name, nn.Parameter(torch.cat((-share * value, share * value)).detach()))
    return doubled


def _shown(weights: Weights, head: str) -> Task | None:
    """Read the task from the names of modules in the head and beside the network, or from a loss with class weights.

    A state_dict of PyTorch lists its modules in `_metadata`, also those without parameters, if it was saved as it was.
    """
    found = weights.found
    own = [name for name in found.modules if name.startswith(f"{head}.") or "." not in name]
    ends = [*own, *found.wrapper_modules]
    sigmoid = any(SIGMOID.search(name) for name in ends) or found.has_positive_weight
    softmax = any(SOFTMAX.search(name) for name in ends)
    if sigmoid == softmax:
        return None
    return "multi-label" if sigmoid else "single-label"


def _after_head(weights: Weights, head: str) -> str | None:
    """Name what follows the last linear layer of a Sequential head, as far as the file shows it."""
    layers = [key.rpartition(".")[0] for key in weights.found.tensors if key.startswith(f"{head}.")]
    last = layers[-1]
    inside = [module for module in weights.found.modules if module.startswith(f"{head}.")]
    if inside:
        after = inside[inside.index(last) + 1 :] if last in inside else []
        return f"{after[0]} comes after {last}" if after else None
    # Without the list of modules: a Sequential of its first layer alone has others without parameters after it.
    return f"{last} is the first of a Sequential" if set(layers) == {f"{head}.0"} else None
