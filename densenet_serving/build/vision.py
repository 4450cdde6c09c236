"""The one place that imports torchvision.

torchvision defines its `nms` operators in a library compiled against CUDA. Beside a CPU build of torch that
library does not load, and the import dies with "operator torchvision::nms does not exist", because torchvision
registers shape functions for operators nobody has declared. Declaring the two schemas is enough; nothing here
calls them. Where torch and torchvision are of the same kind this module does nothing but import.
"""

from __future__ import annotations

from importlib.metadata import files

import torch


def _is_cuda_build_of_torchvision() -> bool:
    version = next(file for file in files("torchvision") or [] if file.name == "version.py")
    return "+cu" in version.read_text()


if torch.version.cuda is None and _is_cuda_build_of_torchvision():
    for _name in ("nms", "qnms"):
        torch.library.define(f"torchvision::{_name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import torchvision  # noqa: E402 - not before the schemas

__all__ = ["torchvision"]
