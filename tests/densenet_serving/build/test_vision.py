from __future__ import annotations

import re

import torch

from densenet_serving import paths
from densenet_serving.build.vision import torchvision


def test_torchvision_imports_beside_any_build_of_torch_and_in_one_place_only() -> None:
    assert torchvision.models.DenseNet121_Weights.IMAGENET1K_V1.url.startswith("https://")
    assert torch.ops.torchvision.nms is not None
    importing = re.compile(r"^\s*(import|from) torchvision", re.MULTILINE)
    folders = (paths.ROOT / "densenet_serving", paths.ROOT / "handler", paths.ROOT / "tests")
    found = [path.name for folder in folders for path in folder.rglob("*.py") if importing.search(path.read_text())]
    assert found == ["vision.py"]
