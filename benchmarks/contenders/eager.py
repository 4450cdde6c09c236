"""The model as PyTorch's Flask tutorial uses it: torchvision's transforms and the network in eager mode.

https://pytorch.org/tutorials/intermediate/flask_rest_api_tutorial.html
"""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import torch
from PIL import Image

from densenet_serving import paths
from densenet_serving.build.vision import torchvision

transforms = torchvision.transforms
TRANSFORM = transforms.Compose(
    [
        transforms.Resize(255),
        transforms.CenterCrop(224),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
)


def load_model() -> torch.nn.Module:
    model: torch.nn.Module = torchvision.models.densenet121(weights=None)
    model.load_state_dict(torch.load(os.environ["CHECKPOINT"], weights_only=True))
    return model.eval()


def load_names() -> list[str]:
    table = json.loads(Path(paths.LABELS).read_text(encoding="utf-8"))
    return [table[str(i)][1] for i in range(len(table))]


def transform(data: bytes) -> torch.Tensor:
    """Encoded photo to a normalised tensor (3, 224, 224)."""
    tensor: torch.Tensor = TRANSFORM(Image.open(io.BytesIO(data)).convert("RGB"))
    return tensor


def best_classes(model: torch.nn.Module, batch: torch.Tensor) -> list[int]:
    with torch.inference_mode():
        classes: list[int] = model(batch).argmax(1).tolist()
    return classes
