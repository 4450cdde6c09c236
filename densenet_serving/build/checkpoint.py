"""Read a checkpoint without unpickling objects, and build its network: format -> content -> state_dict -> network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from densenet_serving.build import pickles, state_dicts
from densenet_serving.build.class_names import CLASS_KEYS
from densenet_serving.build.formats import identify
from densenet_serving.build.heads import HiddenLayers, StateDict, rename_layers
from densenet_serving.build.networks import Architecture
from densenet_serving.build.state_dicts import Found, NotOne
from densenet_serving.errors import WeightsError

# What training programs put the classes into, if not beside the state_dict.
CLASS_HOLDERS = ("hyper_parameters", "hparams", "args", "config", "meta")


@dataclass(frozen=True)
class Weights:
    """A network's tensors in float32, under torchvision's present names, as `found` in the file.

    `others` are the keys of further sets of weights in it.
    """

    path: Path
    tensors: StateDict
    found: Found
    others: tuple[str, ...]


def read(path: Path, architecture: Architecture, weights_key: str | None = None) -> Weights:
    """Read the tensors of one network and rename their keys to those that torchvision uses today.

    Accepts the old key form of the official file (`denselayer1.norm.1.weight`), a state_dict at any depth, any prefix
    of its keys, any floating-point type, and a head that is a Sequential. `weights_key` names the state_dict to take
    if there are several. Raises WeightsError if the file is damaged, another format, pickled or of another
    architecture, or if a number in it is not finite.
    """
    content, stand_ins = _content(path)
    found = state_dicts.find(content, architecture.features_key)
    if not found and stand_ins:
        raise WeightsError(pickles.refusal(path, stand_ins))
    try:
        chosen = state_dicts.choose(found, weights_key)
    except NotOne as error:
        raise WeightsError(_not_one(path, architecture, content, error.keys, weights_key)) from error
    _check_size(path, chosen.tensors)
    tensors = {_current_key(key): _float(path, key, value) for key, value in chosen.tensors.items()}
    try:
        tensors = rename_layers(tensors, architecture.classifier_key)
    except ValueError as error:
        raise WeightsError(f"{path} cannot be served as {architecture.title}: {error}") from error
    if architecture.classifier_key not in tensors:
        raise WeightsError(_no_head(path, architecture))
    others = tuple(one.key for one in found if one is not chosen)
    return Weights(path, tensors, chosen, others)


def load(path: Path, architecture: Architecture) -> StateDict:
    """Return the tensors alone. Raises WeightsError."""
    return read(path, architecture).tensors


def load_network(path: Path, architecture: Architecture) -> tuple[torch.nn.Module, torch.nn.Linear]:
    """Build the network with a checkpoint's weights and its number of classes, in inference mode.

    Returns the feature extractor and the head. Raises WeightsError.
    """
    return build(read(path, architecture), architecture)


def build(weights: Weights, architecture: Architecture) -> tuple[torch.nn.Module, torch.nn.Linear]:
    """Build the network from its tensors. Raises WeightsError if they are not those that it has."""
    try:
        backbone, head = architecture.build(weights.tensors)
    except ValueError as error:
        raise WeightsError(
            f"{weights.path} is not a checkpoint of {architecture.title} ({error}): give one of that architecture, or "
            "choose another with --architecture."
        ) from error
    if isinstance(head, HiddenLayers):
        head.activation = architecture.activation
    return backbone.eval(), head.eval()


def classes_in(path: Path) -> object | None:
    """Return what a checkpoint says of its classes, in any form, or None. Raises WeightsError for a damaged file."""
    content, _ = _content(path)
    held = (content.get(name) for name in CLASS_HOLDERS)
    for level in (content, *(one if isinstance(one, Mapping) else getattr(one, "__dict__", {}) for one in held)):
        for key in CLASS_KEYS:
            said = _plain(level.get(key))
            if isinstance(said, dict | list | tuple):
                return said
    return None


def _content(path: Path) -> tuple[Mapping[str, object], list[str]]:
    """Return what a file holds, and the names of classes in it that were not loaded."""
    if identify(path) == "safetensors":
        try:
            return load_file(path), []
        except (SafetensorError, OSError) as error:
            raise WeightsError(f"{path} is damaged or no checkpoint: fetch or save it again.") from error
    content, stand_ins = pickles.load(path)
    if isinstance(content, pickles.StandIn):
        raise WeightsError(pickles.refusal(path, stand_ins))
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds no state_dict: save model.state_dict() and give that.")
    return content, stand_ins


def _check_size(path: Path, tensors: StateDict) -> None:
    """Raise WeightsError if a tensor's numbers are not all in its file: one value can be expanded to billions."""
    for key, tensor in tensors.items():
        if tensor.layout is not torch.strided or tensor.is_meta:
            kind = "meta" if tensor.is_meta else str(tensor.layout).removeprefix("torch.")
            raise WeightsError(f"{path} holds a {kind} tensor ({key}): save dense tensors with all their numbers.")
    size, numbers = path.stat().st_size, sum(tensor.numel() for tensor in tensors.values())
    if numbers > size:
        largest = max(tensors, key=lambda key: tensors[key].numel())
        raise WeightsError(
            f"{path} has {size:,} bytes and its tensors {numbers:,} numbers, most of them in {largest}: save tensors "
            "that hold each of their numbers (tensor.clone())."
        )


def _float(path: Path, key: str, value: torch.Tensor) -> torch.Tensor:
    """Convert one tensor to float32; the counters of batch normalization are whole numbers. Raises WeightsError."""
    whole = value.is_quantized or not value.is_floating_point()
    if whole and not key.endswith("num_batches_tracked"):
        raise WeightsError(
            f"{path} holds quantized or whole-number weights ({key} is {str(value.dtype).removeprefix('torch.')}): "
            "give the floating-point checkpoint that it was made from; --precision int8 quantizes it here."
        )
    converted = value.float()
    if not bool(torch.isfinite(converted).all()):
        raise WeightsError(
            f"{path} holds weights that are NaN or infinite in float32, the first of them in {key}: give a checkpoint "
            "of an earlier epoch."
        )
    return converted


def _not_one(
    path: Path, architecture: Architecture, content: Mapping[str, object], keys: list[str], weights_key: str | None
) -> str:
    """Say why there is not one set of weights to take."""
    names = ", ".join(key or "no prefix" for key in keys)
    if not keys:
        there = [str(key) for key in content][:4]
        seen = f"; at its top are {', '.join(there)}" if there else "; it is empty"
        return (
            f"{path} is not a checkpoint of {architecture.title} (it has no {architecture.classifier_key} and no key "
            f"with {architecture.features_key}{seen}): give one of that architecture, or choose another with "
            "--architecture."
        )
    if weights_key is not None:
        return f"{path} holds no one network under --weights-key {weights_key}: give one of {names}."
    return f"{path} holds several networks ({names}): choose one with --weights-key."


def _no_head(path: Path, architecture: Architecture) -> str:
    return (
        f"{path} is not a checkpoint of {architecture.title} (it has no {architecture.classifier_key}): "
        "give one of that architecture, or choose another with --architecture."
    )


def _plain(value: object) -> object:
    """Turn arrays, tensors and their numbers, in a list or a mapping too, into Python's own."""
    if isinstance(value, np.ndarray | np.generic | torch.Tensor):
        return value.tolist()
    if isinstance(value, Mapping):
        return {_plain(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_plain, value)) if type(value) in (list, tuple) else list(map(_plain, value))
    return value


def _current_key(key: str) -> str:
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", key)
