"""Build a self-contained, reproducible archive: checkpoint -> network -> exported graph -> packed .mar."""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
from dataclasses import replace
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING

from rich.status import Status

from handler.card import ModelCard
from handler.errors import ArchiveError
from handler.labels import LABELS_FILE, Labels
from handler.settings import Precision
from scripts import paths
from scripts.archives import pack
from scripts.archives.model_store import FIRST_VERSION, file_name
from scripts.archives.precision import GraphStep
from scripts.console import err, note, warn
from scripts.errors import CommandError
from scripts.files import check_space
from scripts.model import notice
from scripts.options import STAND_IN

if TYPE_CHECKING:  # torch takes seconds to import, which only building an archive has to wait for
    from scripts.model.networks import Architecture
    from scripts.model.weights import Checkpoint

VERSION = r"[A-Za-z0-9][A-Za-z0-9._-]*"
COPIES = 10  # of the checkpoint's bytes in the temporary folder, at most: two graphs in four stages, and some reserve
PACKAGES = ("torch", "torchvision", "openvino", "torch-model-archiver")


def build_model(
    model: str,
    model_store: Path,
    *,
    weights_from: str = "auto",
    sha256: str | None = None,
    labels: Path = paths.LABELS,
    version: str = FIRST_VERSION,
    precision: Precision | None = None,
    graph_step: GraphStep | None = None,
) -> Path:
    """Find a model's weights, build its archive, say which weights it has and return its path. Raises CommandError.

    `weights_from` and `sha256` are those of `scripts.model.weights.find`; the stand-in's weights come with its package.
    """
    from scripts.model import weights
    from scripts.model.networks import ARCHITECTURES

    if model not in ARCHITECTURES:
        raise CommandError(f"There is no architecture {model}: choose {' or '.join(ARCHITECTURES)}.")
    if not re.fullmatch(VERSION, version):
        raise CommandError(
            f"The version {version!r} cannot be part of an address: use letters, digits, '.', '-' and '_'."
        )
    is_stand_in = model == STAND_IN and weights_from == "auto"
    checkpoint = weights.stand_in() if is_stand_in else weights.find(weights_from, sha256)
    path = build(ARCHITECTURES[model], checkpoint, labels, model_store, version, precision, graph_step)
    note(f"Built {path} ({path.stat().st_size / 1e6:.0f} MB), weights from {checkpoint.source}.")
    if said := notice.of_weights(checkpoint.on_card()):
        warn(said)
    return path


def build(
    architecture: Architecture,
    checkpoint: Checkpoint,
    labels: Path,
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
    labels: Path,
    version: str,
    folder: Path,
    status: Status,
    graph_step: GraphStep | None = None,
) -> None:
    """Put all that the archive holds beside its entry and its settings into a new folder. Raises CommandError."""
    from scripts.model.checkpoint import load_network
    from scripts.model.export import export
    from scripts.model.networks import ServingModel, calibrated

    backbone, head = load_network(checkpoint.path, architecture)
    head = calibrated(head, checkpoint.temperature)
    check_labels(labels, head.out_features)
    pack.stage_handler(folder)
    shutil.copy(labels, folder / LABELS_FILE)
    status.update(f"Exporting {architecture.title} for PyTorch and OpenVINO (about 20 s)")
    export(ServingModel(backbone, head, architecture.preprocessing), architecture.preprocessing.crop, folder)
    card = make_card(architecture, checkpoint, head.out_features, version)
    quantization = graph_step(folder, card.preprocessing, status.update) if graph_step else None
    replace(card, quantization=quantization).write(folder)


def check_labels(path: Path, classes: int) -> None:
    """Raise CommandError if a labels file is missing, damaged, or does not have this many classes."""
    if not path.is_file():
        raise CommandError(f"There is no labels file {path}: name one with --labels.")
    try:
        count = len(Labels.read(path))
    except ArchiveError as error:
        raise CommandError(str(error)) from error
    if count != classes:
        raise CommandError(
            f"{path} names {count} classes and the checkpoint has {classes}: give its own labels with --labels."
        )


def make_card(architecture: Architecture, checkpoint: Checkpoint, classes: int, version: str) -> ModelCard:
    built_with = {package: installed(package) for package in PACKAGES} | {"python": platform.python_version()}
    return ModelCard(
        name=architecture.name,
        version=version,
        architecture=architecture.title,
        classes=classes,
        weights=checkpoint.on_card(),
        preprocessing=architecture.preprocessing,
        built_with=built_with,
    )
