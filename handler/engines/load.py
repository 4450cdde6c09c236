"""Choose the engine that runs the model here, and load it."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path

import torch

from handler.cores import Threads
from handler.engines.cuda import CudaEngine
from handler.engines.engine import Engine
from handler.engines.openvino import OpenVinoEngine
from handler.engines.torch import TorchEngine
from handler.errors import ArchiveError
from handler.settings import Settings

logger = logging.getLogger(__name__)


def load_engine(folder: Path, settings: Settings, threads: Threads, gpu_id: int | None) -> Engine:
    """Load PyTorch if TorchServe assigned a GPU, else OpenVINO, else PyTorch on the CPU.

    Raises ArchiveError if the settings ask for OpenVINO and it is not installed.
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
        engine = TorchEngine(folder, settings, threads)
    logger.info("Engine: %s", engine.description)
    return engine
