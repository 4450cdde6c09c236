"""The engines that run the model: a batch in, logits and features out.

To add an engine, write its file here, named as the package that it needs, and add that name to `EngineName` in
handler/settings.py. The file has two functions: `suits(gpu)` says whether `auto` may take it, and
`load(folder, settings, threads, gpu)` returns it; `gpu` is the number of the GPU that TorchServe assigned, or None
without one that CUDA can use.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from handler.cores import Threads
from handler.errors import ArchiveError
from handler.settings import EngineName, Settings

# In the order in which `auto` tries them.
ENGINES = [name for name in get_args(EngineName) if name != "auto"]

# More rows than this are inferred in slices, so that a request of many images needs no more memory.
MAX_BATCH = 32

# float32: logits (N, classes) and the last feature map (N, channels, side / 32, side / 32).
Outputs = tuple[NDArray[np.float32], NDArray[np.float32]]

logger = logging.getLogger(__name__)


class Engine(ABC):
    """One loaded model. `description` names engine, precision, device and threads, for logs and the card."""

    description: dict[str, str | int]

    def infer(self, batch: NDArray[np.uint8], *, features: bool = False) -> Outputs:
        """Infer a batch (N, side, side, 3), uint8 RGB, of any N from 1.

        Returns the logits and, if `features` asks for it, the last feature map; otherwise one of no channels.
        """
        logits, maps = zip(*(self._infer(part, features=features) for part in slices(batch)), strict=True)
        return np.concatenate(logits), np.concatenate(maps)

    @abstractmethod
    def _infer(self, batch: NDArray[np.uint8], *, features: bool) -> Outputs:
        """Infer at most MAX_BATCH images, as `infer` does; the arrays returned are never written again."""


def no_features(rows: int) -> NDArray[np.float32]:
    """Return a feature map without channels, for a batch of which none was asked."""
    return np.empty((rows, 0, 0, 0), np.float32)


def slices(batch: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Cut a batch into views of at most MAX_BATCH rows."""
    return [batch[start : start + MAX_BATCH] for start in range(0, len(batch), MAX_BATCH)]


def load_engine(folder: Path, settings: Settings, threads: Threads, gpu_id: int | None) -> Engine:
    """Load the engine that the settings name, or the first that suits this machine.

    That is PyTorch if TorchServe assigned a GPU, else OpenVINO, else PyTorch on the CPU. Raises ArchiveError if the
    package of the one that is named is not installed.
    """
    gpu = gpu_id if gpu_id is not None and _has_cuda() else None
    for name in ENGINES if settings.engine == "auto" else [settings.engine]:
        if find_spec(name) is None:
            continue
        module = import_module(f"handler.engines.{name}")
        if settings.engine == name or module.suits(gpu):
            engine: Engine = module.load(folder, settings, threads, gpu)
            logger.info("Engine: %s", engine.description)
            return engine
    name = settings.engine
    raise ArchiveError(f"handler.engine is {name}, which is not installed: pip install {name}, or set auto.")


def _has_cuda() -> bool:
    import torch  # takes a second, which who only asks for a constant need not wait for

    return torch.cuda.is_available()
