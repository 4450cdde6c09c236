"""The exported graph in PyTorch, as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.export.passes import move_to_device_pass

from handler.cores import Threads
from handler.engines.engine import Engine, Outputs, no_features
from handler.settings import Settings

TORCH_FILE = "model.pt2"


class TorchEngine(Engine):
    """PyTorch on the CPU in f32, if OpenVINO is not installed."""

    def __init__(self, folder: Path, settings: Settings, threads: Threads) -> None:  # noqa: ARG002 - always f32
        torch.set_num_threads(threads.batch)
        self._model = load_module(folder, torch.device("cpu"))
        self.description = {
            "engine": "torch",
            "precision": "f32",
            "device": "cpu",
            "threads": threads.batch,
        }

    def _infer(self, batch: NDArray[np.uint8], *, features: bool) -> Outputs:
        with torch.inference_mode():
            logits, maps = self._model(torch.from_numpy(batch))
        return logits.numpy(), maps.numpy() if features else no_features(len(batch))


def load_module(folder: Path, device: torch.device) -> nn.Module:
    """Load the graph: uint8 (N, side, side, 3) to logits (N, classes) and feature map, N at most MAX_BATCH."""
    program = torch.export.load(folder / TORCH_FILE)
    return move_to_device_pass(program, device).module()
