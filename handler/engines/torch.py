"""The exported graph in PyTorch, as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.export.passes import move_to_device_pass

from handler.engines.batches import slices
from handler.engines.pickles import refuse_pickles

TORCH_FILE = "model.pt2"


class TorchEngine:
    """PyTorch on the CPU in f32, where OpenVINO is not installed."""

    def __init__(self, folder: Path, threads: int) -> None:
        torch.set_num_threads(threads)
        self._model = load_module(folder, torch.device("cpu"))
        self.description: dict[str, str | int] = {
            "engine": "torch",
            "precision": "f32",
            "device": "cpu",
            "threads": threads,
        }

    def __call__(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self.explain(batch)[0]

    def explain(self, batch: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        logits, features = zip(*(self._infer(part) for part in slices(batch)), strict=True)
        return np.concatenate(logits), np.concatenate(features)

    def _infer(self, batch: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        with torch.inference_mode():
            logits, features = self._model(torch.from_numpy(batch))
        return logits.numpy(), features.numpy()


def load_module(folder: Path, device: torch.device) -> nn.Module:
    """Load the graph: uint8 (N, side, side, 3) to logits (N, classes) and feature map, N at most MAX_BATCH.

    Raises ArchiveError where the file holds pickled objects.
    """
    refuse_pickles(folder / TORCH_FILE)
    program = torch.export.load(folder / TORCH_FILE)
    return move_to_device_pass(program, device).module()
