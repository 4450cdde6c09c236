"""Who learns: torchvision's DenseNet-121, from nothing or from a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from torch import Tensor, nn

from handler.card import Preprocessing
from scripts.errors import CommandError
from scripts.model import checkpoint
from scripts.model.networks import ARCHITECTURES, ServingModel
from scripts.model.vision import torchvision

ARCHITECTURE = ARCHITECTURES["densenet121"]
SPEC: Preprocessing = ARCHITECTURE.preprocessing


def build(classes: int, init: Path | None = None) -> nn.Module:
    """Build a DenseNet-121, with random weights or those of a checkpoint. Raises CommandError where it does not fit."""
    network: nn.Module = torchvision.models.densenet121(num_classes=classes)
    if init:
        if not init.is_file():
            raise CommandError(f"There is no file {init}: name a checkpoint to begin with.")
        load(network, checkpoint.load(init, ARCHITECTURE), str(init))
    return network


def load(network: nn.Module, state: dict[str, Tensor], source: str) -> None:
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        reason = next((line.strip() for line in str(error).splitlines()[1:] if line.strip()), str(error))
        raise CommandError(f"{source} does not fit the student: {reason[:200]}") from error


def served(network: nn.Module) -> ServingModel:
    """A DenseNet as a server has it, from uint8 pixels to logits; both share their weights."""
    classifier = cast(nn.Linear, network.get_submodule("classifier"))
    return ServingModel(nn.Sequential(network.get_submodule("features"), nn.ReLU()), classifier, SPEC).eval()
