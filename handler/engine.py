"""The model as a callable: uint8 NHWC batch in, logits out."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from handler.errors import ArchiveError
from handler.settings import Settings, Threads

OPENVINO_FILE = "model.xml"
TORCH_FILE = "model.pt2"

# More rows than this are inferred in slices, so that a request of many images needs no more memory.
MAX_BATCH = 32

logger = logging.getLogger(__name__)


class Engine(Protocol):
    """One loaded model. `description` names engine, precision, device and threads, for logs and the card."""

    description: dict[str, str | int]

    def __call__(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Infer a batch (N, side, side, 3), uint8 RGB; returns logits (N, classes), float32."""


def load_engine(folder: Path, settings: Settings, threads: Threads, gpu_id: int | None) -> Engine:
    """Choose and load: PyTorch where TorchServe assigned a GPU, else OpenVINO, else PyTorch on the CPU.

    Raises ArchiveError where the settings ask for OpenVINO and it is not installed.
    """
    import torch

    on_gpu = gpu_id is not None and torch.cuda.is_available()
    has_openvino = find_spec("openvino") is not None
    if settings.engine == "openvino" and not has_openvino:
        raise ArchiveError("handler.engine is openvino, which is not installed: pip install openvino, or set auto.")
    engine: Engine
    if settings.engine == "openvino" or (settings.engine == "auto" and has_openvino and not on_gpu):
        engine = OpenVinoEngine(folder, settings, threads)
    else:
        engine = TorchEngine(folder, f"cuda:{gpu_id}" if on_gpu else "cpu", threads.batch)
    logger.info("Engine: %s", engine.description)
    return engine


class OpenVinoEngine:
    """OpenVINO on the CPU; it chooses bf16 by itself where the processor has it.

    The model is compiled twice where there are several workers: an image that comes alone means that the others
    idle, so it gets all cores, while under load each worker keeps to its share.
    """

    def __init__(self, folder: Path, settings: Settings, threads: Threads) -> None:
        compiled = {count: _compile(folder, settings, count) for count in {threads.alone, threads.batch}}
        self._alone = compiled[threads.alone].create_infer_request()
        self._batch = compiled[threads.batch].create_infer_request()
        precision = compiled[threads.batch].get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self.description: dict[str, str | int] = {
            "engine": "openvino",
            "precision": precision,
            "device": "cpu",
            "threads": threads.batch,
            "threads_alone": threads.alone,
        }

    def __call__(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.concatenate([self._infer(part) for part in slices(batch)])

    def _infer(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        request = self._alone if len(batch) == 1 else self._batch
        outputs = request.infer({0: batch}, share_inputs=True, share_outputs=True)
        logits: NDArray[np.float32] = outputs[0]  # a view into the request's buffer, which the next batch overwrites
        return logits.copy()


def _compile(folder: Path, settings: Settings, threads: int) -> Any:
    import openvino
    from openvino import properties

    config: dict[str, Any] = {
        properties.hint.performance_mode(): properties.hint.PerformanceMode.LATENCY,
        properties.inference_num_threads(): threads,
        # Pinned threads of two workers would share the first cores and leave the others idle.
        properties.hint.enable_cpu_pinning(): False,
    }
    if settings.precision == "f32":
        config[properties.hint.inference_precision()] = openvino.Type.f32
    return openvino.Core().compile_model(folder / OPENVINO_FILE, "CPU", config)


class TorchEngine:
    """The exported graph in PyTorch, on a GPU or where OpenVINO is not installed."""

    def __init__(self, folder: Path, device: str, threads: int) -> None:
        import torch
        from torch.export.passes import move_to_device_pass

        self._torch = torch
        self._device = device
        if device == "cpu":
            torch.set_num_threads(threads)
        program = torch.export.load(folder / TORCH_FILE)
        self._model = move_to_device_pass(program, device).module()
        self.description: dict[str, str | int] = {
            "engine": "torch",
            "precision": "f32",
            "device": device,
            "threads": threads,
        }

    def __call__(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.concatenate([self._infer(part) for part in slices(batch)])

    def _infer(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        with self._torch.inference_mode():
            logits, _ = self._model(self._torch.from_numpy(batch).to(self._device))
        result: NDArray[np.float32] = logits.cpu().numpy()
        return result


def slices(batch: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Cut a batch into views of at most MAX_BATCH rows."""
    return [batch[start : start + MAX_BATCH] for start in range(0, len(batch), MAX_BATCH)]
