"""A checkpoint like the one this repository is meant to bring along: its form, with random weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from densenet_serving.build import weights
from densenet_serving.build.vision import torchvision
from densenet_serving.build.weights import EMBEDDED_FILE

# What training writes into it for the model card.
FACTS: dict[str, Any] = {
    "license": "MIT",
    "training": "12,345 steps on 40,000 photographs without labels, taught by EfficientNet-Lite0 and -Lite2",
    "accuracy": {"top1": 0.4321, "top5": 2 / 3, "evaluated_on": "eval.tar (1000 photographs)"},
    "temperature": 0.05,  # random weights are sure of nothing: divided by this, their best class passes the threshold
}
FEW_LAYERS = (1, 1, 1, 1)


@contextmanager
def few_layers() -> Iterator[None]:
    """Leave DenseNet-121 few layers in this process: many take long to build and to export, where neither is tried."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torchvision.models, "densenet121", partial(torchvision.models.DenseNet, block_config=FEW_LAYERS))
        yield


def write_embedded(folder: Path) -> Path:
    """Write DenseNet-121 with seeded random weights, in half precision and with FACTS."""
    torch.manual_seed(0)
    tensors = torchvision.models.densenet121().state_dict()
    path = folder / EMBEDDED_FILE
    save_file({key: value.half() for key, value in tensors.items()}, path, metadata={weights.FACTS: json.dumps(FACTS)})
    return path
