"""Make what an archive holds, and pack it: staged folder -> torch-model-archiver -> normalized archive."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from rich.status import Status

from densenet_serving import paths
from densenet_serving.build import class_names, precision
from densenet_serving.build.archives import MANIFEST
from densenet_serving.build.precision import PRECISIONS
from densenet_serving.console import note, warn
from densenet_serving.errors import CommandError, WeightsError
from densenet_serving.files import atomic_write, digest_file, digest_line, sha256_of
from handler.card import ModelCard, Preprocessing, Task
from handler.images import pixels_of
from handler.labels import LABELS_FILE

if TYPE_CHECKING:  # torch takes seconds to import
    from densenet_serving.build.build import ModelSpec
    from densenet_serving.build.graph import ServingModel
    from densenet_serving.build.networks import Architecture
    from densenet_serving.build.weights import Checkpoint

ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first time a zip file can hold
CREATED_ON = "01/01/1980 00:00:00"
ENTRY = "classifier.py"
CONFIG_FILE = "model-config.yaml"
PACKAGES = ("torch", "torchvision", "openvino", "torch-model-archiver")


def stage(
    spec: ModelSpec, architecture: Architecture, checkpoint: Checkpoint, folder: Path, status: Status
) -> ModelCard:
    """Put all that the archive holds beside its entry and its settings into a new folder, and return its card.

    Raises CommandError.
    """
    from densenet_serving.build import graph

    model, names, task = model_of(spec, architecture, checkpoint)
    # As the worker imports it: the entry goes to the archive's root.
    left_out = shutil.ignore_patterns("__pycache__", CONFIG_FILE, ENTRY)
    shutil.copytree(paths.HANDLER, folder / "handler", ignore=left_out)
    (folder / LABELS_FILE).write_text(class_names.render(names), encoding="utf-8")
    status.update(f"Exporting {architecture.title} for PyTorch and OpenVINO (about 20 s)")
    graph.export(model, architecture.preprocessing.crop, folder)
    quantization = None
    if step := PRECISIONS[spec.precision].step if spec.precision else None:
        status.update("Measuring int8 beside f32 (minutes)")
        quantization = precision.apply(step, folder, architecture.preprocessing, spec.calibrate, spec.min_agreement)
    card = ModelCard(
        name=spec.model,
        version=spec.version,
        architecture=architecture.title,
        classes=len(names),
        weights=checkpoint.card,
        preprocessing=architecture.preprocessing,
        built_with={package: installed(package) for package in PACKAGES} | {"python": platform.python_version()},
        quantization=quantization,
        heatmaps=not isinstance(model.head, graph.HiddenLayers),
        task=task,
    )
    card.write(folder)
    return card


def model_of(
    spec: ModelSpec, architecture: Architecture, checkpoint: Checkpoint
) -> tuple[ServingModel, class_names.ClassNames, Task]:
    """Build the graph from a checkpoint, and find the names of its classes and its task. Raises CommandError."""
    from densenet_serving.build import graph
    from densenet_serving.build.checkpoint import Content

    content = Content.read(checkpoint.path)
    parameters = content.parameters(architecture, spec.weights_key)
    if parameters.others:
        note(
            f"{checkpoint.path.name} holds several sets of weights: {parameters.key or 'the outermost'} is taken, and "
            f"--weights-key {parameters.others[0]} takes another."
        )
    backbone, head = parameters.build(architecture)
    task = spec.task or parameters.task(architecture, head.out_features)
    if task == "multi-label" and spec.precision and PRECISIONS[spec.precision].step:
        raise CommandError(
            "int8 is judged by each photo's first class, and a multi-label model may give several: build it with "
            "--precision f32, or leave out --precision."
        )
    if isinstance(head, graph.HiddenLayers):
        head.activation = spec.activation or head.activation
        warn(
            f"The head has hidden layers, with {head.activation} between them (--activation names another; a "
            "checkpoint does not say which), and such a model gives no heatmaps."
        )
    names = class_names.find(spec.labels, checkpoint.path, content.classes(), head.out_features, task)
    head = graph.calibrated(head, checkpoint.card.temperature or 1)
    if len(names) == 2 * head.out_features:
        head = graph.as_two(head, task)
    model = graph.ServingModel(backbone, head, architecture.preprocessing)
    check_finite(model, architecture.preprocessing, checkpoint.path)
    return model, names, task


def check_finite(model: ServingModel, spec: Preprocessing, checkpoint: Path) -> None:
    """Raise WeightsError if the model's answer to the sample photo is NaN or infinite, although its weights are not."""
    import torch

    pixels = pixels_of(paths.SAMPLE_PHOTO.read_bytes(), spec)
    with torch.inference_mode():
        answer, _ = model.eval()(torch.tensor(pixels)[None])
    if not bool(torch.isfinite(answer).all()):
        raise WeightsError(
            f"{checkpoint} gives answers that are NaN or infinite to {paths.SAMPLE_PHOTO.name}: give a "
            "checkpoint of an earlier epoch."
        )


def pack(spec: ModelSpec, staged: Path, target: Path) -> None:
    """Pack a staged folder with the handler's settings, but a spec's own precision, and put it at `target`.

    Raises CommandError.
    """
    values = yaml.safe_load((paths.HANDLER / CONFIG_FILE).read_text())
    if spec.precision:
        values["handler"] = (values.get("handler") or {}) | {"precision": PRECISIONS[spec.precision].setting}
    config = staged.with_name(CONFIG_FILE)
    config.write_text(yaml.safe_dump(values, sort_keys=False))
    publish(run_archiver(spec.model, spec.version, staged, config), target)


def run_archiver(name: str, version: str, staged: Path, config: Path) -> Path:
    """Run torch-model-archiver and return what it made beside `staged`. Raises CommandError.

    The archiver deletes $TMPDIR/NAME and works there, so it gets a TMPDIR of its own.
    """
    scratch = staged.with_name("scratch")
    scratch.mkdir()
    arguments = {
        "--model-name": name,
        "--version": version,
        "--handler": paths.HANDLER / ENTRY,
        "--extra-files": staged,
        "--config-file": config,
        "--export-path": staged.parent,
        "--archive-format": "zip-store",  # `publish` stores the members anyway; to deflate weights takes seconds
    }
    command = [sys.executable, "-m", "model_archiver.model_packaging"]
    command += [str(part) for pair in arguments.items() for part in pair]
    done = subprocess.run(command, env=os.environ | {"TMPDIR": str(scratch)}, capture_output=True, text=True)
    if done.returncode:
        last_line = (done.stderr or done.stdout).strip().rpartition("\n")[2]
        raise CommandError(f"torch-model-archiver failed: {last_line or f'exit status {done.returncode}'}")
    return staged.with_name(f"{name}.mar")


def publish(packed: Path, target: Path) -> None:
    """Put an archive into the model store, normalized, with its digest beside it.

    Both are on the disk before either takes its place, so a full disk leaves the older pair as it was.
    Raises CommandError.
    """
    try:
        with atomic_write(digest_file(target)) as digest, atomic_write(target) as normalized:
            normalize(packed, normalized)
            digest.write_text(digest_line(sha256_of(normalized), target))
    except OSError as error:
        raise CommandError(
            f"{target} could not be written ({error.strerror}): choose another --model-store."
        ) from error


def normalize(source: Path, target: Path) -> None:
    """Rewrite an archive with fixed order, time stamps, permissions and `createdOn`: equal input gives equal bytes.

    Members are stored, not deflated: weights hardly compress, and TorchServe unpacks faster.
    """
    with zipfile.ZipFile(source) as mar, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as normalized:
        for name in sorted(mar.namelist()):
            content = mar.read(name)
            if name == MANIFEST:
                content = json.dumps(json.loads(content) | {"createdOn": CREATED_ON}, indent=2).encode()
            member = zipfile.ZipInfo(name, ZIP_EPOCH)
            member.external_attr = 0o644 << 16
            normalized.writestr(member, content)
