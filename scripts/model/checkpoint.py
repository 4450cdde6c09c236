"""Read a checkpoint without unpickling objects, and build its network."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import torch
from safetensors.torch import load_file

from scripts.errors import WeightsError
from scripts.model.networks import Architecture, StateDict


def load(path: Path, architecture: Architecture) -> StateDict:
    """Read a state_dict from .pth or .safetensors and rename its keys to those that torchvision uses today.

    Accepts the old key form of the official file (`denselayer1.norm.1.weight`), a state_dict under the key
    `state_dict` or `model`, the `module.` prefix of DataParallel, and half precision.
    Raises WeightsError if the file is damaged, pickled or of another architecture.
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


def load_network(path: Path, architecture: Architecture) -> tuple[torch.nn.Module, torch.nn.Linear]:
    """Build the network with a checkpoint's weights and its number of classes, in inference mode.

    Returns the feature extractor and the final linear layer. Raises WeightsError.
    """
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
    # torch.load raises many kinds of exceptions for bytes that are no checkpoint: RuntimeError, KeyError, ...
    except Exception as error:
        raise WeightsError(f"{path} is damaged or no checkpoint: fetch or save it again.") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds no state_dict: save model.state_dict() and give that.")
    return content


def _current_key(key: str) -> str:
    key = key.removeprefix("module.")
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", key)
