"""Build a self-contained, reproducible model archive (.mar) for TorchServe."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import yaml
from rich.status import Status

from handler.card import ModelCard
from handler.errors import ArchiveError
from handler.labels import LABELS_FILE, Labels
from handler.settings import Precision
from scripts import paths
from scripts.archives import integrity
from scripts.console import err, note, run, warn
from scripts.errors import CommandError
from scripts.model import notice
from scripts.model.download import sha256_of
from scripts.options import MODEL, STAND_IN, ModelStore
from scripts.space import check_space

if TYPE_CHECKING:  # torch takes seconds to import, which only building an archive has to wait for
    from scripts.model.networks import Architecture
    from scripts.model.weights import Checkpoint

# Earlier than any build and the first time stamp a zip can hold, so that equal input gives equal bytes.
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
CREATED_ON = "01/01/1980 00:00:00"
FIRST_VERSION = "1.0"
VERSION = r"[A-Za-z0-9][A-Za-z0-9._-]*"
MANIFEST = "MAR-INF/MANIFEST.json"
ENTRY = "classifier.py"
CONFIG_FILE = "model-config.yaml"
COPIES = 10  # of the checkpoint's bytes that lie in the temporary folder at most: two forms, four stages, and some air
PACKAGES = ("torch", "torchvision", "openvino", "torch-model-archiver")


def archive(
    model: Annotated[str, typer.Option(help=f"The architecture: {MODEL} or {STAND_IN}.")] = MODEL,
    weights_from: Annotated[
        str, typer.Option("--weights", help="auto, official, embedded, a path, or a URL with --sha256.")
    ] = "auto",
    sha256: Annotated[str | None, typer.Option(help="The digest the checkpoint must have.")] = None,
    labels: Annotated[Path, typer.Option(help="The class names, one a class.")] = paths.LABELS,
    model_store: ModelStore = paths.MODEL_STORE,
    version: Annotated[str, typer.Option(help="The model's version.")] = FIRST_VERSION,
    precision: Annotated[
        Precision | None, typer.Option(help="Arithmetic, instead of that of handler/model-config.yaml; f32 is exact.")
    ] = None,
) -> None:
    """Build MODEL.mar, and its digest MODEL.mar.sha256, from weights, labels and the handler."""
    from scripts.model import weights
    from scripts.model.networks import ARCHITECTURES

    if model not in ARCHITECTURES:
        raise CommandError(f"There is no architecture {model}: choose {' or '.join(ARCHITECTURES)}.")
    if not re.fullmatch(VERSION, version):
        raise CommandError(
            f"The version {version!r} cannot be part of an address: use letters, digits, '.', '-' and '_'."
        )
    # The stand-in's weights come with its package and from nowhere else.
    is_stand_in = model == STAND_IN and weights_from == "auto"
    checkpoint = weights.stand_in() if is_stand_in else weights.find(weights_from, sha256)
    path = build(ARCHITECTURES[model], checkpoint, labels, model_store, version, precision)
    size = path.stat().st_size / 1e6
    note(f"Built {path} ({size:.0f} MB), weights from {checkpoint.source}.")
    if said := notice.of_weights(checkpoint.on_card()):
        warn(said)


def build(
    architecture: Architecture,
    checkpoint: Checkpoint,
    labels: Path,
    model_store: Path,
    version: str = FIRST_VERSION,
    precision: Precision | None = None,
) -> Path:
    """Build the archive and return its path: NAME.mar, or NAME-VERSION.mar for every version but the first.

    The archive appears in the model store whole or not at all. Raises CommandError.
    """
    from scripts.model.checkpoint import build as read
    from scripts.model.export import export
    from scripts.model.networks import ServingModel, calibrated

    try:
        model_store.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(
            f"The model store {model_store} cannot be made ({error.strerror}): choose another --model-store."
        ) from error
    if not os.access(model_store, os.W_OK):
        raise CommandError(f"The model store {model_store} cannot be written to: choose another --model-store.")
    with (
        tempfile.TemporaryDirectory(prefix="densenet-archive-") as name,
        Status(f"Reading {checkpoint.path.name}", console=err) as status,
    ):
        folder = Path(name)
        needed = COPIES * checkpoint.path.stat().st_size
        check_space(folder, needed, "Building the archive", "set TMPDIR to another folder")
        backbone, head = read(checkpoint.path, architecture)
        head = calibrated(head, checkpoint.temperature)
        check_labels(labels, head.out_features)
        staged = folder / "staged"
        stage_handler(staged)
        shutil.copy(labels, staged / LABELS_FILE)
        make_card(architecture, checkpoint, head.out_features, version).write(staged)

        status.update(f"Exporting {architecture.title} for PyTorch and OpenVINO (about 20 s)")
        export(ServingModel(backbone, head, architecture.preprocessing), architecture.preprocessing.crop, staged)

        status.update("Packing the archive")
        packed = run_archiver(architecture.name, version, staged, config_with(precision, folder), folder)
        normalized = folder / "normalized.mar"
        normalize(packed, normalized)
        return move_into(normalized, model_store / file_name(architecture.name, version))


def file_name(name: str, version: str) -> str:
    return f"{name}.mar" if version == FIRST_VERSION else f"{name}-{version}.mar"


def read_manifest(path: Path) -> tuple[str, str]:
    """Read an archive's model name and version, once it is proved to be whole, unchanged and safe to unpack.

    Every member's checksum is tried: at a damaged one TorchServe gives up in silence, and waits for ever.
    Raises CommandError where the archive is missing, none, damaged, changed, or would be unpacked elsewhere.
    """
    try:
        integrity.check_digest(path)
        with zipfile.ZipFile(path) as mar:
            integrity.check_members(path, mar)
            integrity.check_contents(path, mar)
            model = json.loads(mar.read(MANIFEST))["model"]
        return model["modelName"], model["modelVersion"]
    except FileNotFoundError as error:
        raise CommandError(f"There is no archive {path}: build it with densenet archive.") from error
    except (zipfile.BadZipFile, zlib.error, struct.error, KeyError, TypeError, ValueError, OSError) as error:
        raise CommandError(
            f"{path} is not a model archive, or damaged: build it again with densenet archive."
        ) from error


def check_labels(path: Path, classes: int) -> None:
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


def stage_handler(folder: Path) -> None:
    """Lay the handler out as the worker imports it: the entry at the root, beside the package it imports from."""
    shutil.copytree(paths.HANDLER, folder / "handler", ignore=shutil.ignore_patterns("__pycache__", CONFIG_FILE, ENTRY))


def config_with(precision: Precision | None, folder: Path) -> Path:
    """Return the archive's settings: the handler's own file, or with a precision, a changed copy of it in `folder`."""
    config = paths.HANDLER / CONFIG_FILE
    if precision is None:
        return config
    values = yaml.safe_load(config.read_text())
    values["handler"] = (values.get("handler") or {}) | {"precision": precision}
    changed = folder / CONFIG_FILE
    changed.write_text(yaml.safe_dump(values, sort_keys=False))
    return changed


def run_archiver(name: str, version: str, staged: Path, config: Path, folder: Path) -> Path:
    """Run torch-model-archiver. It deletes $TMPDIR/NAME and works there, so it gets a TMPDIR of its own."""
    scratch = folder / "scratch"
    scratch.mkdir()
    arguments = {
        "--model-name": name,
        "--version": version,
        "--handler": paths.HANDLER / ENTRY,
        "--extra-files": staged,
        "--config-file": config,
        "--export-path": folder,
    }
    command = [sys.executable, "-m", "model_archiver.model_packaging"]
    command += [str(part) for pair in arguments.items() for part in pair]
    done = subprocess.run(command, env=os.environ | {"TMPDIR": str(scratch)}, capture_output=True, text=True)
    if done.returncode:
        last_line = (done.stderr or done.stdout).strip().rpartition("\n")[2]
        raise CommandError(f"torch-model-archiver failed: {last_line or f'exit status {done.returncode}'}")
    return folder / f"{name}.mar"


def normalize(source: Path, target: Path) -> None:
    """Rewrite an archive with fixed order, time stamps, permissions and `createdOn`.

    Members are stored, not deflated: weights hardly shrink, and TorchServe unpacks faster.
    """
    with zipfile.ZipFile(source) as mar, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as normalized:
        for name in sorted(mar.namelist()):
            content = mar.read(name)
            if name == MANIFEST:
                content = json.dumps(json.loads(content) | {"createdOn": CREATED_ON}, indent=2).encode()
            member = zipfile.ZipInfo(name, ZIP_EPOCH)
            member.external_attr = 0o644 << 16
            normalized.writestr(member, content)


def move_into(source: Path, target: Path) -> Path:
    """Move an archive that may lie on another file system, and its digest beside it, so that neither is half-written.

    Both are on the disk before either takes its place: all that can fail then leaves the older pair as it was.
    """
    partial, partial_digest = (target.with_name(f".{target.name}.{kind}") for kind in ("partial", "sha256"))
    try:
        partial_digest.write_text(integrity.digest_line(sha256_of(source), target))
        shutil.copyfile(source, partial)
        partial.replace(target)
        partial_digest.replace(integrity.digest_file(target))
    except OSError as error:
        raise CommandError(
            f"{target} could not be written ({error.strerror}): choose another --model-store."
        ) from error
    finally:
        partial.unlink(missing_ok=True)
        partial_digest.unlink(missing_ok=True)
    return target


if __name__ == "__main__":
    run(archive)
