"""The student: torchvision's DenseNet-121 in four sections, each of which can learn one map of the teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from densenet_serving.build.graph import ServingModel
from densenet_serving.build.networks import ARCHITECTURES
from densenet_serving.build.vision import torchvision
from densenet_serving.errors import CommandError
from handler.card import Preprocessing
from training import fused
from training.teacher import CHANNELS

ARCHITECTURE = ARCHITECTURES["densenet121"]
SPEC: Preprocessing = ARCHITECTURE.preprocessing
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")  # which are estimated anew
NOISE = 0.3  # deviations added to the teacher's maps where they are inputs: a section's own inputs will not be exact


class Student(nn.Module):
    """A DenseNet with adaptors at the end of its sections.

    `to_maps` predicts the teacher's maps from what a section gives. `from_maps`, while sections learn apart, makes the
    next section's input of a map. `fold` merges both into the transitions' own 1x1 convolutions; from then on the
    network is a plain DenseNet, and `to_maps` only guides it.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.features: Any = network.features
        self.classifier = cast(nn.Linear, network.classifier)
        widths = [self._transition(k).conv.out_channels for k in range(3)]
        pooled = self.classifier.in_features
        self.to_maps = nn.ModuleList(nn.Conv2d(w, c, 1) for w, c in zip(widths, CHANNELS, strict=False))
        self.to_maps.append(nn.Linear(pooled, CHANNELS[3]))
        self.from_maps = nn.ModuleList(nn.Conv2d(c, w, 1, bias=False) for w, c in zip(widths, CHANNELS, strict=False))
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(SPEC.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(SPEC.std).view(1, 3, 1, 1), persistent=False)

    def forward(self, views: Tensor, forced: Sequence[Tensor] | None = None) -> tuple[list[Tensor], Tensor]:
        """Predict the teacher's maps and the logits for views of 0 to 1, (N, 3, side, side).

        With `forced`, the teacher's maps, each section gets these instead of its predecessor's output.
        """
        x = ((views - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        predicted: list[Tensor] = []
        for k in range(3):
            x = fused.section(self.features, k, x)
            predicted.append(self.to_maps[k](x))
            if len(self.from_maps):
                given = (
                    predicted[k] if forced is None else shrink(forced[k], x) + NOISE * torch.randn_like(predicted[k])
                )
                x = self.from_maps[k](given)
        pooled = fused.section(self.features, 3, x).float().mean((2, 3))
        predicted.append(self.to_maps[3](pooled))
        return predicted, self.classifier(pooled)

    @torch.no_grad()
    def fold(self) -> None:
        """Merge the adaptors between the sections into the transitions.

        A bias is lost, which the batch normalizations behind it would remove anyhow.
        """
        for k, outward in enumerate(self.from_maps):
            inward, conv = cast(nn.Conv2d, self.to_maps[k]), self._transition(k).conv
            into = cast(nn.Conv2d, outward).weight.flatten(1)
            conv.weight.copy_((into @ inward.weight.flatten(1) @ conv.weight.flatten(1))[:, :, None, None])
            inward.weight.copy_(torch.linalg.pinv(into)[:, :, None, None])
        self.from_maps = nn.ModuleList()

    def _transition(self, k: int) -> Any:
        return self.features.get_submodule(f"transition{k + 1}")


def shrink(one: Tensor, like: Tensor) -> Tensor:
    """Average a map (N, C, H, W) down to the size of another."""
    return functional.adaptive_avg_pool2d(one, (like.shape[2], like.shape[3]))


def build(classes: int) -> nn.Module:
    network: nn.Module = torchvision.models.densenet121(num_classes=classes)
    return network


def averaged(average: dict[str, Tensor], source: str) -> nn.Module:
    """Build the network of a training's average; raises CommandError if its weights do not fit."""
    state = {name.removeprefix("network."): one for name, one in average.items() if name.startswith("network.")}
    try:
        network = build(len(state["classifier.bias"]))
        missing, unexpected = network.load_state_dict(state, strict=False)
        if wrong := [*unexpected, *(name for name in missing if not name.endswith(STATISTICS))]:
            raise ValueError(f"its {wrong[0]} is missing or not the student's")
    except (KeyError, RuntimeError, ValueError) as error:
        raise CommandError(f"{source} does not fit the student ({str(error)[:200]}): choose another --run.") from error
    return network


def served(network: nn.Module) -> ServingModel:
    """Return the graph a server has, from uint8 pixels to logits; both share their weights."""
    classifier = cast(nn.Linear, network.get_submodule("classifier"))
    return ServingModel(nn.Sequential(network.get_submodule("features"), nn.ReLU()), classifier, SPEC).eval()
