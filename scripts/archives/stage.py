"""Make what the archive holds: the handler's code, the labels, the exported graphs and the model card."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING

from rich.status import Status

from handler.card import ModelCard
from handler.labels import LABELS_FILE
from scripts.archives import pack
from scripts.archives.precision import GraphStep
from scripts.archives.spec import ModelSpec
from scripts.console import warn
from scripts.model import class_names

if TYPE_CHECKING:  # torch takes seconds to import, which only building an archive has to wait for
    from scripts.model.networks import Architecture
    from scripts.model.weights import Checkpoint

PACKAGES = ("torch", "torchvision", "openvino", "torch-model-archiver")


@dataclass(frozen=True)
class Sources:
    """What the names in a spec stand for. `graph_step` is done to the exported graph, if not None."""

    architecture: Architecture
    checkpoint: Checkpoint
    graph_step: GraphStep | None


def stage(spec: ModelSpec, sources: Sources, folder: Path, status: Status) -> None:
    """Put all that the archive holds beside its entry and its settings into a new folder. Raises CommandError."""
    from scripts.model.checkpoint import load_network
    from scripts.model.export import export
    from scripts.model.heads import HiddenLayers
    from scripts.model.networks import ServingModel, calibrated

    architecture, checkpoint = sources.architecture, sources.checkpoint
    backbone, head = load_network(checkpoint.path, architecture)
    head = calibrated(head, checkpoint.temperature)
    heatmaps = not isinstance(head, HiddenLayers)
    if not heatmaps:
        warn(
            f"The head has hidden layers, with {architecture.activation} between them (--activation names another; a "
            "checkpoint does not say which), and such a model gives no heatmaps."
        )
    names = class_names.find(spec.labels, checkpoint.path, head.out_features)
    pack.stage_handler(folder)
    (folder / LABELS_FILE).write_text(class_names.render(names), encoding="utf-8")
    status.update(f"Exporting {architecture.title} for PyTorch and OpenVINO (about 20 s)")
    export(ServingModel(backbone, head, architecture.preprocessing), architecture.preprocessing.crop, folder)
    card = make_card(architecture, checkpoint, head.out_features, spec.version, heatmaps)
    step = sources.graph_step
    quantization = step(folder, card.preprocessing, status.update) if step else None
    replace(card, quantization=quantization).write(folder)


def make_card(
    architecture: Architecture, checkpoint: Checkpoint, classes: int, version: str, heatmaps: bool = True
) -> ModelCard:
    built_with = {package: installed(package) for package in PACKAGES} | {"python": platform.python_version()}
    return ModelCard(
        name=architecture.name,
        version=version,
        architecture=architecture.title,
        classes=classes,
        weights=checkpoint.on_card(),
        preprocessing=architecture.preprocessing,
        built_with=built_with,
        heatmaps=heatmaps,
    )
