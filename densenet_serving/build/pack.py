"""Pack the handler and a folder of model files: staged folder -> torch-model-archiver -> normalized archive."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import yaml

from densenet_serving import paths
from densenet_serving.build.mar import MANIFEST
from densenet_serving.errors import CommandError
from densenet_serving.files import atomic_write, digest_file, digest_line, sha256_of
from handler.settings import Precision

# The first time a zip file can hold, so that equal input gives equal bytes.
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
CREATED_ON = "01/01/1980 00:00:00"
ENTRY = "classifier.py"
CONFIG_FILE = "model-config.yaml"


def stage_handler(folder: Path) -> None:
    """Copy the package `handler` as the worker imports it: without its entry, which goes to the archive's root."""
    shutil.copytree(paths.HANDLER, folder / "handler", ignore=shutil.ignore_patterns("__pycache__", CONFIG_FILE, ENTRY))


def config_with(precision: Precision | None, folder: Path) -> Path:
    """Return the archive's settings: the handler's own file, or a copy in `folder` with another precision."""
    config = paths.HANDLER / CONFIG_FILE
    if precision is None:
        return config
    values = yaml.safe_load(config.read_text())
    values["handler"] = (values.get("handler") or {}) | {"precision": precision}
    changed = folder / CONFIG_FILE
    changed.write_text(yaml.safe_dump(values, sort_keys=False))
    return changed


def run_archiver(name: str, version: str, staged: Path, config: Path, folder: Path) -> Path:
    """Run torch-model-archiver and return what it made. Raises CommandError.

    The archiver deletes $TMPDIR/NAME and works there, so it gets a TMPDIR of its own.
    """
    scratch = folder / "scratch"
    scratch.mkdir()
    arguments = {
        "--model-name": name,
        "--version": version,
        "--handler": paths.HANDLER / ENTRY,
        "--extra-files": staged,
        "--config-file": config,
        "--export-path": folder,
        "--archive-format": "zip-store",  # `normalize` stores the members anyway; to deflate weights takes seconds
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


def publish(source: Path, target: Path) -> Path:
    """Copy an archive, perhaps from another file system, to its place in the model store, with its digest beside it.

    Both are on the disk before either takes its place, so a full disk leaves the older pair as it was.
    Raises CommandError.
    """
    try:
        with atomic_write(digest_file(target)) as digest, atomic_write(target) as copy:
            digest.write_text(digest_line(sha256_of(source), target))
            shutil.copyfile(source, copy)
    except OSError as error:
        raise CommandError(
            f"{target} could not be written ({error.strerror}): choose another --model-store."
        ) from error
    return target
