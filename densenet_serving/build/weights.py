"""Find a checkpoint, verify that it is the right file, and say what is known of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from safetensors import SafetensorError, safe_open

from densenet_serving import paths
from densenet_serving.build.download import download
from densenet_serving.build.formats import DAMAGED, SAFETENSORS, identify, is_checkpoint
from densenet_serving.build.networks import ARCHITECTURES, Architecture, Official
from densenet_serving.errors import DownloadError, NotThere, NoWeights, WeightsError
from densenet_serving.files import sha256_of
from densenet_serving.options import MODEL
from handler.card import Weights

VARIABLE = "DENSENET121_WEIGHTS"
SUFFIXES = (".pth", ".pth.tar", ".pt", ".bin", ".ckpt", ".safetensors")
EMBEDDED_FILE = "densenet121-embedded.safetensors"
FACTS = "model-card.weights"  # the key of the metadata in which training/card.py writes fields of Weights, as JSON


@dataclass(frozen=True)
class Checkpoint:
    """A verified file on this machine, and what the model card says about it; `own` is true if a person trained it."""

    path: Path
    card: Weights
    own: bool = False


def find(source: str, sha256: str | None = None, architecture: Architecture | None = None) -> Checkpoint:
    """Resolve `--weights`: auto, official, embedded, a path, or an http(s) URL (which needs `sha256`).

    `sha256`, if given, is the digest that the file must have, from any source: 64 hexadecimal digits. auto and official
    are those of `architecture`, by default DenseNet-121. Raises WeightsError, or DownloadError if a download failed.
    """
    architecture = architecture or ARCHITECTURES[MODEL]
    sources: dict[str, Callable[[], Checkpoint]] = {
        "auto": lambda: find_auto(architecture, sha256),
        "official": lambda: official(architecture),
        "embedded": embedded,
    }
    if source in sources:
        checkpoint = sources[source]()
    elif source.startswith(("http://", "https://")):
        checkpoint = from_url(source, sha256)
    else:
        checkpoint = from_path(Path(source))
    if sha256 is not None and checkpoint.card.sha256 != sha256.lower():
        raise WeightsError(
            f"{checkpoint.path} has the SHA-256 {checkpoint.card.sha256}, and --sha256 says {sha256!r}: it is another "
            "or a damaged file, or not the digest that sha256sum prints."
        )
    return checkpoint


def find_auto(architecture: Architecture, sha256: str | None = None) -> Checkpoint:
    """Take the first that exists: the variable, weights/, the official one, embedded.

    Weights that come in a package are always there. If a source that a person chose does not work, the search ends:
    another checkpoint would surprise them.
    """
    if architecture.official.file:
        return official(architecture)
    named = os.environ.get(VARIABLE) or "auto"
    if named != "auto":
        return find(named, sha256, architecture)
    tried = [(f"the variable {VARIABLE}", "not set")]
    sources: tuple[tuple[str, Callable[[], Checkpoint]], ...] = (
        (f"the folder {paths.WEIGHTS.name}/", from_weights_folder),
        ("the official download", lambda: official(architecture)),
        ("the embedded checkpoint", embedded),
    )
    for where, find_there in sources:
        try:
            return find_there()
        except (NotThere, DownloadError) as error:
            tried.append((where, str(error).rstrip(".")))
    raise NoWeights(
        tried,
        f"To serve {architecture.title}, put {hub_cache(architecture.official).name} or a checkpoint of your own into "
        f"{paths.WEIGHTS.name}/, or name it with --weights, and run densenet archive.",
    )


def from_path(path: Path) -> Checkpoint:
    """Return a person's own checkpoint, or the official one if its name and its digest are those."""
    identify(path)
    for official in (architecture.official for architecture in ARCHITECTURES.values()):
        if official.url and path.name == hub_cache(official).name and sha256_of(path).startswith(_digits(official)):
            return _published(path, official)
    return _trained(path, f"file {path.name}")


def from_url(url: str, sha256: str | None) -> Checkpoint:
    if not sha256:
        raise WeightsError(f"Give the SHA-256 of {url} with --sha256: a download is only used once its digest fits.")
    path = paths.WEIGHTS / "downloads" / (Path(urlsplit(url).path).name or "checkpoint")
    if not path.is_file() or sha256_of(path) != sha256.lower():
        download(url, path, sha256)
    return _trained(path, url)


def from_weights_folder() -> Checkpoint:
    """Return the one checkpoint in weights/, by its content and whatever its name is.

    A file that is called like a checkpoint and is none was meant as one: it is refused, with what it is.
    """
    files = [path for path in sorted(paths.WEIGHTS.glob("[!.]*")) if path.is_file() and path.name != EMBEDDED_FILE]
    meant = [path for path in files if path.name.endswith(SUFFIXES)]
    found = [path for path in files if is_checkpoint(path)] or meant[:1]
    if not found:
        raise NotThere("it holds no checkpoint")
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise WeightsError(f"{paths.WEIGHTS.name}/ holds several checkpoints ({names}): choose one with --weights.")
    return from_path(found[0])


def hub_cache(official: Official) -> Path:
    """Return where torch hub keeps a file, which other programs share."""
    return Path(torch.hub.get_dir()) / "checkpoints" / str(official.url).rpartition("/")[2]


def official(architecture: Architecture) -> Checkpoint:
    """Return an architecture's ImageNet weights, from its package or torch hub's cache; download them into it first."""
    published = architecture.official
    if published.file:
        return _published(published.file(), published)
    path = hub_cache(published)
    if not path.is_file() or not sha256_of(path).startswith(_digits(published)):
        download(str(published.url), path, _digits(published))
    return _published(path, published)


def embedded() -> Checkpoint:
    """Return the checkpoint in this repository, once it has one, with its provenance."""
    path = paths.WEIGHTS / EMBEDDED_FILE
    if not path.is_file():
        raise NotThere(f"this repository has no {path.name} yet, and training/README.md says how to make it.")
    checkpoint = _trained(path, "the checkpoint embedded in this repository (not the official one)")
    if checkpoint.own:
        raise WeightsError(
            f"{path} does not say how it was trained and how good it is: python -m training.evaluate --record measures "
            "it and writes that into the file."
        )
    return checkpoint


def _published(path: Path, official: Official) -> Checkpoint:
    return Checkpoint(path, Weights(official.source, sha256_of(path), official.license))


def _trained(path: Path, source: str) -> Checkpoint:
    """Return a checkpoint of this project's training, which says so itself, or of a person's own."""
    said = read_facts(path) if identify(path) is SAFETENSORS else None
    facts = said or {"license": "that of the checkpoint's owner"}
    return Checkpoint(path, Weights.from_dict(facts | {"source": source, "sha256": sha256_of(path)}), own=said is None)


def read_facts(path: Path) -> dict[str, Any] | None:
    """Read what training wrote into a .safetensors file for the model card. Raises WeightsError if it is damaged."""
    try:
        with safe_open(path, framework="np") as file:
            text = (file.metadata() or {}).get(FACTS)
        return None if text is None else dict(json.loads(text))
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path} {DAMAGED}.") from error


def _digits(official: Official) -> str:
    """Return the first digits of the SHA-256, which PyTorch's convention puts at the end of a file's name."""
    return hub_cache(official).stem.rpartition("-")[2]
