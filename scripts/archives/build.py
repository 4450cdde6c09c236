"""Build a self-contained, reproducible archive: checkpoint -> network -> exported graph -> packed .mar."""

from __future__ import annotations

import os
import platform
import re
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.status import Status

from handler.card import ModelCard
from handler.labels import LABELS_FILE
from handler.settings import Precision
from scripts.archives import pack
from scripts.archives.build_command import BuildCommand
from scripts.archives.model_store import FIRST_VERSION, file_name, refuse_another_model
from scripts.archives.precision import GraphStep
from scripts.console import err, note, warn
from scripts.errors import CommandError
from scripts.files import check_space
from scripts.model import class_names, notice
from scripts.options import STAND_IN, Activation

if TYPE_CHECKING:  # torch takes seconds to import, which only building an archive has to wait for
    from scripts.model.networks import Architecture
    from scripts.model.weights import Checkpoint

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
COPIES = 10  # of the checkpoint's bytes in the temporary folder, at most: two graphs in four stages, and some reserve
PACKAGES = ("torch", "torchvision", "openvino", "torch-model-archiver")


def build_model(
    model: str,
    model_store: Path,
    *,
    weights_from: str = "auto",
    sha256: str | None = None,
    labels: Path | None = None,
    version: str = FIRST_VERSION,
    precision: Precision | None = None,
    graph_step: GraphStep | None = None,
    graph_options: Mapping[str, Any] | None = None,
    architecture: str | None = None,
    activation: Activation | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    stand_in: bool = False,
) -> Path:
    """Find a model's weights, build its archive, say which weights it has and return its path. Raises CommandError.

    `weights_from` and `sha256` are those of `scripts.model.weights.find`; the stand-in's weights come with its package.
    `preprocessing` has the fields that differ from the architecture's own. An archive of another model is replaced only
    if `overwrite` is true. `graph_options` are the options that chose `graph_step`. `stand_in` says that no person
    chose this model.
    """
    from scripts.model import networks, weights

    check_name(model, "model")
    check_name(version, "version")
    network = networks.served_as(model, architecture, weights_from != "auto", activation, preprocessing or {})
    is_stand_in = model == STAND_IN and weights_from == "auto"
    checkpoint = weights.stand_in() if is_stand_in else weights.find(weights_from, sha256)
    if not overwrite:
        refuse_another_model(model_store / file_name(model, version), model, version, checkpoint.sha256)
    path = build(network, checkpoint, labels, model_store, version, precision, graph_step)
    options = {
        "model": model,
        "weights": None if is_stand_in else again(weights_from, checkpoint.path),
        "sha256": sha256,
        "labels": labels and labels.resolve(),
        "model-store": model_store.resolve(),
        "version": version,
        "precision": precision,
        "architecture": architecture,
        "activation": activation,
        **(preprocessing or {}),
        **(graph_options or {}),
    }
    BuildCommand.of(options, stand_in=stand_in).write(path)
    note(f"Built {path} ({path.stat().st_size / 1e6:.0f} MB), weights from {checkpoint.source}.")
    if said := notice.of_weights(checkpoint.on_card()):
        warn(said)
    return path


def again(weights_from: str, checkpoint: Path) -> str:
    """Return the --weights that finds a checkpoint again: what `auto` or a relative path found may change."""
    is_name = weights_from in ("official", "embedded") or "://" in weights_from
    return weights_from if is_name else str(checkpoint.resolve())


def check_name(name: str, what: str) -> None:
    """Raise CommandError for a name of a model or of a version that TorchServe cannot have in its addresses."""
    if not re.fullmatch(NAME, name):
        raise CommandError(
            f"The {what} {name!r} cannot be part of an address: use letters, digits, '.', '-' and '_', and one of the "
            "first two at its beginning."
        )


def build(
    architecture: Architecture,
    checkpoint: Checkpoint,
    labels: Path | None,
    model_store: Path,
    version: str = FIRST_VERSION,
    precision: Precision | None = None,
    graph_step: GraphStep | None = None,
) -> Path:
    """Build an archive from a checkpoint and return its path.

    The archive appears in the model store whole or not at all. Raises CommandError.
    """
    prepare(model_store)
    with (
        tempfile.TemporaryDirectory(prefix="densenet-archive-") as name,
        Status(f"Reading {checkpoint.path.name}", console=err) as status,
    ):
        folder = Path(name)
        needed = COPIES * checkpoint.path.stat().st_size
        check_space(folder, needed, "Building the archive", "set TMPDIR to another folder")
        staged = folder / "staged"
        stage(architecture, checkpoint, labels, version, staged, status, graph_step)
        status.update("Packing the archive")
        config = pack.config_with(precision, folder)
        packed = pack.run_archiver(architecture.name, version, staged, config, folder)
        normalized = folder / "normalized.mar"
        pack.normalize(packed, normalized)
        return pack.publish(normalized, model_store / file_name(architecture.name, version))


def prepare(model_store: Path) -> None:
    """Make the model store if there is none, before the minutes that a build takes. Raises CommandError."""
    try:
        model_store.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(
            f"The model store {model_store} cannot be made ({error.strerror}): choose another --model-store."
        ) from error
    if not os.access(model_store, os.W_OK):
        raise CommandError(f"The model store {model_store} cannot be written to: choose another --model-store.")


def stage(
    architecture: Architecture,
    checkpoint: Checkpoint,
    labels: Path | None,
    version: str,
    folder: Path,
    status: Status,
    graph_step: GraphStep | None = None,
) -> None:
    """Put all that the archive holds beside its entry and its settings into a new folder. Raises CommandError."""
    from scripts.model.checkpoint import load_network
    from scripts.model.export import export
    from scripts.model.heads import HiddenLayers
    from scripts.model.networks import ServingModel, calibrated

    backbone, head = load_network(checkpoint.path, architecture)
    head = calibrated(head, checkpoint.temperature)
    heatmaps = not isinstance(head, HiddenLayers)
    if not heatmaps:
        warn(
            f"The head has hidden layers, with {architecture.activation} between them (--activation names another; a "
            "checkpoint does not say which), and such a model gives no heatmaps."
        )
    names = class_names.find(labels, checkpoint.path, head.out_features)
    pack.stage_handler(folder)
    (folder / LABELS_FILE).write_text(class_names.render(names), encoding="utf-8")
    status.update(f"Exporting {architecture.title} for PyTorch and OpenVINO (about 20 s)")
    export(ServingModel(backbone, head, architecture.preprocessing), architecture.preprocessing.crop, folder)
    card = make_card(architecture, checkpoint, head.out_features, version, heatmaps)
    quantization = graph_step(folder, card.preprocessing, status.update) if graph_step else None
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
