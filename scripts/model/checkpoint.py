"""Read a checkpoint without unpickling objects, and build its network."""

from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path

import torch
from safetensors.torch import load_file

from scripts.errors import WeightsError
from scripts.model.heads import HiddenLayers, StateDict, rename_layers
from scripts.model.networks import Architecture

# Where training programs put the state_dict: timm and PyTorch Lightning, this project, PyTorch's tutorial, others.
WRAPPERS = ("state_dict", "model", "model_state_dict", "net")
# Where they put the classes: torchvision's ImageFolder calls them so.
CLASS_KEYS = ("class_to_idx", "classes", "class_names")


def load(path: Path, architecture: Architecture) -> StateDict:
    """Read a state_dict from .pth or .safetensors and rename its keys to those that torchvision uses today.

    Accepts the old key form of the official file (`denselayer1.norm.1.weight`), a state_dict under one of WRAPPERS,
    any prefix (`module.` of DataParallel, `model.` of Lightning), half precision, and a head that is a Sequential.
    Raises WeightsError if the file is damaged, pickled or of another architecture.
    """
    weights = _read(path)
    for wrapper in WRAPPERS:
        inner = weights.get(wrapper)
        weights = inner if isinstance(inner, dict) else weights
    tensors = {str(key): value.float() for key, value in weights.items() if isinstance(value, torch.Tensor)}
    tensors = _without_prefix(tensors, path, architecture)
    tensors = {_current_key(key): value for key, value in tensors.items()}
    try:
        tensors = rename_layers(tensors, architecture.classifier_key)
    except ValueError as error:
        raise WeightsError(f"{path} cannot be served as {architecture.title}: {error}") from error
    if architecture.classifier_key not in tensors:
        raise WeightsError(
            f"{path} is not a checkpoint of {architecture.title} (it has no {architecture.classifier_key}): "
            "give one of that architecture, or choose another with --architecture."
        )
    return tensors


def load_network(path: Path, architecture: Architecture) -> tuple[torch.nn.Module, torch.nn.Linear]:
    """Build the network with a checkpoint's weights and its number of classes, in inference mode.

    Returns the feature extractor and the head. Raises WeightsError.
    """
    weights = load(path, architecture)
    try:
        backbone, head = architecture.build(weights)
    except RuntimeError as error:
        first = next((line.strip() for line in str(error).splitlines()[1:] if line.strip()), str(error))
        raise WeightsError(f"{path} is not a checkpoint of {architecture.title}: {first[:200]}") from error
    if isinstance(head, HiddenLayers):
        head.activation = architecture.activation
    return backbone.eval(), head.eval()


def classes_in(path: Path) -> object | None:
    """Return what a checkpoint says of its classes, in any form, or None. Raises WeightsError for a damaged file."""
    content = _read(path)
    return next((content[key] for key in CLASS_KEYS if isinstance(content.get(key), dict | list | tuple)), None)


def _read(path: Path) -> dict[str, object]:
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(_pickled(path, str(error))) from error
    # torch.load raises many kinds of exceptions for bytes that are no checkpoint: RuntimeError, KeyError, ...
    except Exception as error:
        if _is_torchscript(path):
            raise WeightsError(
                f"{path} is a TorchScript program and not a checkpoint: save torch.jit.load({path.name!r}).state_dict()"
                " with torch.save and give that file."
            ) from error
        raise WeightsError(f"{path} is damaged or no checkpoint: fetch or save it again.") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds no state_dict: save model.state_dict() and give that.")
    return content


def _pickled(path: Path, error: str) -> str:
    """Say what torch.load refused to unpickle."""
    refused = re.search(r"GLOBAL (\S+)", error)
    if not refused:
        return (
            f"{path} holds pickled objects and not only tensors, or is damaged: save model.state_dict() and give that."
        )
    return (
        f"{path} holds pickled objects and not only tensors ({refused[1]}), and loading them would run code: where the "
        "model was trained, save model.state_dict() with torch.save and give that file."
    )


def _is_torchscript(path: Path) -> bool:
    """Recognize what torch.jit.save writes: a zip file with code in it."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as file:
        return any(re.match(r"[^/]+/code/", name) for name in file.namelist())


def _without_prefix(tensors: StateDict, path: Path, architecture: Architecture) -> StateDict:
    """Keep the network's own tensors and drop the prefix that a wrapper put before their keys.

    Beside them a wrapper may hold others, such as the weights of a loss. Raises WeightsError for several networks.
    """
    found = (re.match(rf"(.*\.)?{re.escape(architecture.features_key)}", key) for key in tensors)
    prefixes = sorted({match[1] or "" for match in found if match})
    if len(prefixes) > 1:
        names = ", ".join(prefix or "no prefix" for prefix in prefixes)
        raise WeightsError(f"{path} holds several networks ({names}): save the state_dict of one.")
    prefix = prefixes[0] if prefixes else ""
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _current_key(key: str) -> str:
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", key)
