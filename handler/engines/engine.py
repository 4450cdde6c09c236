"""The model as a callable: uint8 NHWC batch in, logits out."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from handler.cores import Threads
from handler.engines.cuda import CudaEngine
from handler.engines.openvino import OpenVinoEngine
from handler.engines.torch import TorchEngine
from handler.errors import ArchiveError
from handler.settings import Settings

logger = logging.getLogger(__name__)


class Engine(Protocol):
    """One loaded model. `description` names engine, precision, device and threads, for logs and the card."""

    description: dict[str, str | int]

    def __call__(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Infer a batch (N, side, side, 3), uint8 RGB; returns logits (N, classes), float32."""

    def explain(self, batch: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Infer a batch; returns logits and the last feature map (N, channels, side / 32, side / 32), float32."""


def load_engine(folder: Path, settings: Settings, threads: Threads, gpu_id: int | None) -> Engine:
    """Choose and load: PyTorch where TorchServe assigned a GPU, else OpenVINO, else PyTorch on the CPU.

    Raises ArchiveError where the settings ask for OpenVINO and it is not installed.
    """
    gpu = torch.device("cuda", gpu_id) if gpu_id is not None and torch.cuda.is_available() else None
    has_openvino = find_spec("openvino") is not None
    if settings.engine == "openvino" and not has_openvino:
        raise ArchiveError("handler.engine is openvino, which is not installed: pip install openvino, or set auto.")
    engine: Engine
    if settings.engine == "openvino" or (settings.engine == "auto" and has_openvino and gpu is None):
        engine = OpenVinoEngine(folder, settings, threads)
    elif gpu is not None:
        engine = CudaEngine(folder, settings, threads, gpu)
    else:
        engine = TorchEngine(folder, threads.batch)
    logger.info("Engine: %s", engine.description)
    return engine
