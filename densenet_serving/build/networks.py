"""The networks that can be served, and the graph that each becomes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from densenet_serving.build.heads import StateDict, head_for
from densenet_serving.build.vision import torchvision
from densenet_serving.errors import CommandError
from densenet_serving.options import MODEL, STAND_IN, Activation
from handler.card import Preprocessing
from handler.errors import ArchiveError

SMALLEST_CROP = 32  # pixels: every network here halves the side five times


@dataclass(frozen=True)
class Architecture:
    """How to build a network in two parts, the feature extractor and the final linear layer.

    `classifier_key` names the weight of shape (classes, channels), which gives the number of classes; every checkpoint
    has keys that begin with `features_key`. `activation` is what a head with hidden layers has between them.
    """

    name: str
    title: str
    build: Callable[[StateDict], tuple[nn.Module, nn.Linear]]
    classifier_key: str
    preprocessing: Preprocessing
    features_key: str
    activation: Activation = "relu"


class ServingModel(nn.Module):
    """The graph from pixels to logits, with normalization in it.

    The input is uint8 NHWC (N, side, side, 3). The outputs are the logits (N, classes) and the last feature map
    (N, channels, side / 32, side / 32), both float32. Both architectures end in global average pooling and one
    linear layer, so the weights of a class times that map show where the class was seen. A head with HiddenLayers has
    no such weights.
    """

    def __init__(self, backbone: nn.Module, head: nn.Linear, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        std = torch.tensor(preprocessing.std)
        self.scale: Tensor
        self.shift: Tensor
        self.register_buffer("scale", (1 / (255 * std)).view(1, 3, 1, 1))
        self.register_buffer("shift", (torch.tensor(preprocessing.mean) / std).view(1, 3, 1, 1))

    def normalize(self, images: Tensor) -> Tensor:
        """Turn uint8 NHWC into float32 NCHW, as torchvision's ToTensor and Normalize do."""
        return images.permute(0, 3, 1, 2).float() * self.scale - self.shift

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.backbone(self.normalize(images))
        pooled = functional.adaptive_avg_pool2d(features, 1).flatten(1)
        logits: Tensor = self.head(pooled)
        return logits, features


def calibrated(head: nn.Linear, temperature: float) -> nn.Linear:
    """Return a copy of `head` whose logits are divided by `temperature`, which must be positive.

    This is temperature scaling (Guo et al. 2017, https://arxiv.org/abs/1706.04599) inside the graph: the order of the
    classes stays, and a softmax gives calibrated probabilities with every engine.
    """
    scaled = copy.deepcopy(head)
    with torch.no_grad():
        for parameter in (scaled.weight, scaled.bias):
            if parameter is not None:
                parameter.div_(temperature)
    return scaled


def load_exactly(network: nn.Module, weights: StateDict) -> None:
    """Load all of a network's tensors and no others. Raises ValueError, which says how they differ."""
    own = network.state_dict()
    missing = [key for key in own if key not in weights and not key.endswith("num_batches_tracked")]
    extra = [key for key in weights if key not in own]
    for keys, what in ((missing, "it lacks"), (extra, "it also holds")):
        if keys:
            others = f" and {len(keys) - 1:,} more" if len(keys) > 1 else ""
            raise ValueError(f"{what} {keys[0]}{others}")
    for key, value in weights.items():
        if value.shape != own[key].shape:
            raise ValueError(f"its {key} has the shape {tuple(value.shape)} and not {tuple(own[key].shape)}")
    network.load_state_dict(weights)


def build_densenet121(weights: StateDict) -> tuple[nn.Module, nn.Linear]:
    network = torchvision.models.densenet121(num_classes=1)
    network.classifier = head_for(weights, "classifier.weight", network.classifier.in_features)
    load_exactly(network, weights)
    return nn.Sequential(network.features, nn.ReLU()), network.classifier


class EfficientNetFeatures(nn.Module):
    def __init__(self, network: Any) -> None:  # its package has no types
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.network.extract_features(images)
        return features


def build_efficientnet_lite0(weights: StateDict) -> tuple[nn.Module, nn.Linear]:
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0", num_classes=1)
    network._fc = head_for(weights, "_fc.weight", network._fc.in_features)
    load_exactly(network, weights)
    return EfficientNetFeatures(network), network._fc


ARCHITECTURES = {
    architecture.name: architecture
    for architecture in (
        Architecture(
            name=MODEL,
            title="DenseNet-121",
            build=build_densenet121,
            classifier_key="classifier.weight",
            features_key="features.",
            # PyTorch's tutorial "Deploying PyTorch in Python via a REST API with Flask".
            preprocessing=Preprocessing(255, 224, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ),
        Architecture(
            name=STAND_IN,
            title="EfficientNet-Lite0",
            build=build_efficientnet_lite0,
            classifier_key="_fc.weight",
            features_key="_conv_stem.",
            # The package's own values: 88.5 % top-1 on 1000 ImageNet photos with them.
            preprocessing=Preprocessing(256, 224, "bicubic", (0.498, 0.498, 0.498), (0.502, 0.502, 0.502)),
        ),
    )
}


def served_as(
    model: str,
    name: str | None,
    has_checkpoint: bool,
    activation: Activation | None,
    preprocessing: Mapping[str, Any],
) -> Architecture:
    """Return the architecture called `name`, by default `model` or else DenseNet-121, served under the name `model`.

    `activation` and the fields in `preprocessing` win over the architecture's own. Raises CommandError if they cannot
    be, or if a name that is no architecture's has no checkpoint of its own: it may be a misspelled architecture.
    """
    name = name or (model if model in ARCHITECTURES else MODEL)
    if name not in ARCHITECTURES or (model not in ARCHITECTURES and not has_checkpoint):
        raise CommandError(
            f"There is no architecture {name if name not in ARCHITECTURES else model}: choose "
            f"{' or '.join(ARCHITECTURES)}. To serve a model of your own, name its checkpoint with --weights."
        )
    if model in ARCHITECTURES and model != name:
        raise CommandError(f"{model} is another architecture than {name}: give the model a name of its own.")
    own = ARCHITECTURES[name]
    try:
        spec = replace(own.preprocessing, **preprocessing)
    except ArchiveError as error:
        raise CommandError(f"{error} Give other values for --resize, --crop, --mean or --std.") from error
    if spec.crop < SMALLEST_CROP:
        raise CommandError(f"--crop {spec.crop} leaves no feature map: give at least {SMALLEST_CROP} pixels.")
    return replace(own, name=model, preprocessing=spec, activation=activation or own.activation)
