"""Make what the archive holds: the handler's code, the labels, the exported graphs and the model card."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING

from rich.status import Status

from densenet_serving.build import class_names, pack
from densenet_serving.build.precision import GraphStep
from densenet_serving.build.spec import ModelSpec
from densenet_serving.console import note, warn
from densenet_serving.errors import CommandError
from handler.card import ModelCard, Task
from handler.labels import LABELS_FILE

if TYPE_CHECKING:  # torch takes seconds to import, which only building an archive has to wait for
    from densenet_serving.build.networks import Architecture
    from densenet_serving.build.weights import Checkpoint

PACKAGES = ("torch", "torchvision", "openvino", "torch-model-archiver")


@dataclass(frozen=True)
class Sources:
    """What the names in a spec stand for. `graph_step` is done to the exported graph, if not None."""

    architecture: Architecture
    checkpoint: Checkpoint
    graph_step: GraphStep | None


def stage(spec: ModelSpec, sources: Sources, folder: Path, status: Status) -> ModelCard:
    """Put all that the archive holds beside its entry and its settings into a new folder, and return its card.

    Raises CommandError.
    """
    from densenet_serving.build import checkpoint as checkpoints
    from densenet_serving.build import tasks
    from densenet_serving.build.export import export
    from densenet_serving.build.heads import HiddenLayers
    from densenet_serving.build.inference import check_finite
    from densenet_serving.build.networks import ServingModel, calibrated

    architecture, checkpoint = sources.architecture, sources.checkpoint
    weights = checkpoints.read(checkpoint.path, architecture, spec.weights_key)
    if weights.others:
        note(
            f"{checkpoint.path.name} holds several sets of weights: {weights.found.key or 'the outermost'} is taken, "
            f"and --weights-key {weights.others[0]} takes another."
        )
    backbone, head = checkpoints.build(weights, architecture)
    task = tasks.decide(spec.task, weights, architecture.classifier_key, head.out_features)
    if sources.graph_step and task == "multi-label":
        raise CommandError(
            "int8 is judged by each photo's first class, and a multi-label model may give several: build it with "
            "--precision f32, or leave out --precision."
        )
    head = calibrated(head, checkpoint.temperature)
    heatmaps = not isinstance(head, HiddenLayers)
    if not heatmaps:
        warn(
            f"The head has hidden layers, with {architecture.activation} between them (--activation names another; a "
            "checkpoint does not say which), and such a model gives no heatmaps."
        )
    names = class_names.find(spec.labels, checkpoint.path, head.out_features, task)
    if head.out_features == 1 and len(names) == 2:
        head = tasks.as_two(head, task)
    model = ServingModel(backbone, head, architecture.preprocessing)
    check_finite(model, architecture.preprocessing, checkpoint.path)
    pack.stage_handler(folder)
    (folder / LABELS_FILE).write_text(class_names.render(names), encoding="utf-8")
    status.update(f"Exporting {architecture.title} for PyTorch and OpenVINO (about 20 s)")
    export(model, architecture.preprocessing.crop, folder)
    card = make_card(architecture, checkpoint, head.out_features, spec.version, heatmaps, task)
    step = sources.graph_step
    quantization = step(folder, card.preprocessing, status.update) if step else None
    card = replace(card, quantization=quantization)
    card.write(folder)
    return card


def make_card(
    architecture: Architecture,
    checkpoint: Checkpoint,
    classes: int,
    version: str,
    heatmaps: bool = True,
    task: Task = "single-label",
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
        task=task,
    )
