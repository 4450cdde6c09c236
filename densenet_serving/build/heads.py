"""The head of a network: one linear layer, or hidden layers before it, as people put there to fine-tune it."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from densenet_serving.options import Activation

StateDict = dict[str, Tensor]


class HiddenLayers(nn.Linear):
    """The final linear layer with others before it, and `activation` between them.

    Its state_dict holds the final layer as `weight` and `bias`, and the others as `hidden.0.weight` and so on.
    """

    def __init__(self, widths: list[int]) -> None:
        """Take the width of each layer's input, in order, and last the number of classes."""
        super().__init__(widths[-2], widths[-1])
        self.hidden = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths[:-1]))
        self.activation: Activation = "relu"

    def forward(self, pooled: Tensor) -> Tensor:
        activate = getattr(functional, self.activation)
        for layer in self.hidden:
            pooled = activate(layer(pooled))
        return super().forward(pooled)


def head_for(weights: StateDict, classifier_key: str, channels: int) -> nn.Linear:
    """Make the head of a network with this many channels; its parameters, in `weights`, are still to be loaded."""
    name = classifier_key.removesuffix("weight")
    classes = len(weights[classifier_key])
    hidden = [value for key, value in weights.items() if key.startswith(f"{name}hidden.") and key.endswith(".weight")]
    if hidden:
        return HiddenLayers([channels, *map(len, hidden), classes])
    return nn.Linear(channels, classes, bias=f"{name}bias" in weights)


def rename_layers(weights: StateDict, classifier_key: str) -> StateDict:
    """Rename the layers of a Sequential head to those of HiddenLayers; the last becomes the final layer.

    Layers without parameters, such as Dropout, leave no trace in a checkpoint. Raises ValueError if a layer is not
    linear, or the layers do not follow each other.
    """
    name = classifier_key.removesuffix(".weight")
    head = {key: value for key, value in weights.items() if key.startswith(f"{name}.")}
    layers = list(dict.fromkeys(key.rpartition(".")[0] for key in head))
    if layers in ([], [name]):
        return weights
    matrices = [head.get(f"{layer}.weight", torch.empty(0)) for layer in layers]
    parameters = {key.rpartition(".")[2] for key in head}
    if not parameters <= {"weight", "bias"} or any(matrix.ndim != 2 for matrix in matrices):
        raise ValueError(f"its head may have linear layers only, and it has {', '.join(head)}.")
    if any(len(before) != after.shape[1] for before, after in pairwise(matrices)):
        raise ValueError(f"the layers of its head do not fit each other ({', '.join(head)}).")
    new_names = {layer: f"{name}.hidden.{i}" for i, layer in enumerate(layers)} | {layers[-1]: name}
    renamed = {key: f"{new_names[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}" for key in head}
    return {renamed.get(key, key): value for key, value in weights.items()}
