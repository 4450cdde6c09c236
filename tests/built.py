"""The archives that tests serve. They take long to build, so each is built once for all test processes and later runs.

They lie under build/test-archives, in a folder named by the digest of all that goes into them.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

import pytest
from filelock import FileLock

from densenet_serving import paths
from densenet_serving.build import calibration
from densenet_serving.build.archives import file_name
from densenet_serving.build.build import ModelSpec, build_model
from densenet_serving.options import MODEL, STAND_IN
from handler.settings import Precision

STORE = paths.ROOT / "build" / "test-archives"
KEPT = 4  # folders of digests: this one, its other precision, and those of one more state of the code
CHECKPOINT = "seeded.pth"
INT8_VERSION = "8.0"  # of the stand-in, so that a server can hold it beside the usual one
INT8_CROPS = 100  # instead of 300: the tests ask whether int8 works, and not how well it is calibrated


def archive_of(model: str, precision: Precision | None) -> Path:
    """Return the archive of DenseNet-121 with `seeded_checkpoint`, or of the stand-in, alone in its folder."""

    def build(folder: Path) -> None:
        weights = str(seeded_checkpoint()) if model == MODEL else "auto"
        build_model(ModelSpec(model, weights, precision=precision), folder)

    return _made_once(f"{model}-{precision or 'usual'}", build) / f"{model}.mar"


def int8_archive() -> Path:
    """Return the stand-in's int8 archive, calibrated on packaged photos, alone in its folder. It needs NNCF."""

    def build(folder: Path) -> None:
        from densenet_serving.build import comparison

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(calibration, "CROPS", INT8_CROPS)
            patch.setattr(comparison, "SECONDS", 0.1)  # of each precision, whose speed nobody reads here
            build_model(ModelSpec(STAND_IN, version=INT8_VERSION, precision="int8", min_agreement=0), folder)

    return _made_once("int8", build) / file_name(STAND_IN, INT8_VERSION)


def seeded_checkpoint() -> Path:
    """Return a DenseNet-121 of 1000 classes with seeded random weights, as a state_dict."""

    def build(folder: Path) -> None:
        import torch

        from densenet_serving.build.vision import torchvision

        torch.manual_seed(0)
        torch.save(torchvision.models.densenet121().state_dict(), folder / CHECKPOINT)

    return _made_once("checkpoint", build) / CHECKPOINT


def _made_once(name: str, build: Callable[[Path], None]) -> Path:
    """Return the folder that `build` fills; of several processes that ask at once, one builds and the others wait."""
    store = STORE / _digest()
    store.mkdir(parents=True, exist_ok=True)
    folder = store / name
    with FileLock(store / f"{name}.lock"):
        if not folder.exists():
            _forget_the_oldest()
            with tempfile.TemporaryDirectory(dir=store, ignore_cleanup_errors=True) as unfinished:
                build(Path(unfinished))
                Path(unfinished).rename(folder)
    for archive in folder.glob("*.mar"):
        archive.touch()  # of this very code, even if its files were written anew since
    return folder


@cache
def _digest() -> str:
    """All that an archive is made of: the code that builds it, the handler, labels, packages, and this file."""
    digest = hashlib.sha256()
    for file in sorted(
        (*paths.handler_files(), *paths.ROOT.glob("densenet_serving/build/*.py"), paths.LABELS, Path(__file__))
    ):
        if file.is_file():
            digest.update(f"{file.relative_to(paths.ROOT)} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    versions = sorted({f"{package.name}=={package.version}" for package in distributions()})
    digest.update("\n".join((platform.python_version(), *versions)).encode())
    return digest.hexdigest()[:16]


def _forget_the_oldest() -> None:
    stores = sorted(STORE.iterdir(), key=lambda store: store.stat().st_mtime, reverse=True)
    for store in stores[KEPT:]:
        shutil.rmtree(store)
