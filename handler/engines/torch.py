"""The exported graph in PyTorch: on a GPU in half precision, on the CPU as it is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export.passes import move_to_device_pass

from handler.card import ModelCard
from handler.cores import Threads
from handler.engines import MAX_BATCH, Engine, Outputs, no_features
from handler.settings import Settings

TORCH_FILE = "model.pt2"
Forward = Callable[[Tensor], tuple[Tensor, Tensor]]
Launch = Callable[[], None]

# It rounds eight times finer than bfloat16, and older cards have it too.
HALF = torch.float16
# Runs before a capture, as in PyTorch's notes on CUDA graphs: libraries choose their kernels and allocate in them.
WARM_UPS = 3
# A CUDA graph has one batch size: a smaller batch is padded to the next of these.
FIXED_SIZES = (1, 2, 4, 8, 16, MAX_BATCH)


def suits(gpu: int | None) -> bool:  # noqa: ARG001 - it runs everywhere
    return True


def load(folder: Path, settings: Settings, threads: Threads, gpu: int | None) -> Engine:
    if gpu is not None:
        return CudaEngine(folder, settings, threads, torch.device("cuda", gpu))
    return TorchEngine(folder, settings, threads)


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


class CudaEngine(Engine):
    """PyTorch on a GPU: f16 unless the settings ask for f32. All graphs are captured on loading."""

    def __init__(self, folder: Path, settings: Settings, threads: Threads, device: torch.device) -> None:
        exact = settings.precision == "f32"
        torch.set_num_threads(threads.batch)  # these copy batches into pinned memory
        torch.set_float32_matmul_precision("highest")  # no TF32, which NVIDIA's containers allow by a variable
        card = ModelCard.read(folder)
        self._forward = prepare(load_module(folder, device), device, torch.float32 if exact else HALF)
        self._device = device
        self._fixed_batches = FixedBatches(
            self._forward, card.preprocessing.crop, card.classes, device, recorder(device)
        )
        self.description = {
            "engine": "torch",
            "precision": "f32" if exact else "f16",
            "device": str(device),
            "threads": threads.batch,
        }

    def _infer(self, batch: NDArray[np.uint8], *, features: bool) -> Outputs:
        if not features:
            return self._fixed_batches(batch), no_features(len(batch))
        # Without a CUDA graph: explanations are asked for one at a time, by people.
        logits, maps = self._forward(torch.from_numpy(batch).to(self._device))
        return logits.float().cpu().numpy(), maps.float().cpu().numpy()


class FixedBatches:
    """Runs a model at the fixed sizes, on buffers that never move: a CUDA graph knows its memory by address.

    `record` turns a launch into one that can be repeated: `recorder` below, or on the CPU the launch itself.
    """

    def __init__(
        self, forward: Forward, side: int, classes: int, device: torch.device, record: Callable[[Launch], Launch]
    ) -> None:
        # The GPU copies from and to pinned memory directly.
        pinned = device.type == "cuda"
        self._host_images = torch.zeros((MAX_BATCH, side, side, 3), dtype=torch.uint8, pin_memory=pinned)
        self._host_logits = torch.zeros((MAX_BATCH, classes), pin_memory=pinned)
        self._images = self._host_images.to(device, copy=True)
        self._logits = self._host_logits.to(device, copy=True)
        # The largest first: the smaller then find room in the memory it took.
        self._run = {size: record(partial(self._launch, forward, size)) for size in reversed(FIXED_SIZES)}

    def __call__(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Infer 1 to MAX_BATCH images. What pads them are images of former batches, whose logits nobody reads."""
        rows = len(batch)
        self._host_images[:rows].copy_(torch.from_numpy(batch))
        self._images[:rows].copy_(self._host_images[:rows], non_blocking=True)
        self._run[padded_size(rows)]()
        self._host_logits[:rows].copy_(self._logits[:rows])  # waits for the GPU
        logits: NDArray[np.float32] = self._host_logits[:rows].numpy()
        return logits.copy()

    def _launch(self, forward: Forward, size: int) -> None:
        self._logits[:size].copy_(forward(self._images[:size])[0])


def prepare(model: nn.Module, device: torch.device, dtype: torch.dtype) -> Forward:
    """Lay the model's weights out for `dtype`; returns the function from uint8 NHWC images to logits and
    feature map in `dtype`.

    Convolutions and linear layers, whose weights alone have several dimensions, compute in `dtype`: autocast casts what
    flows into them. Normalization of pixels and of batches keeps its f32 constants.
    """
    for parameter in model.parameters():
        if parameter.ndim > 1:  # cast here, or autocast would cast it in every run
            parameter.data = parameter.data.to(dtype)
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    def forward(images: Tensor) -> tuple[Tensor, Tensor]:
        half = torch.autocast(device.type, dtype, enabled=dtype != torch.float32, cache_enabled=False)
        with torch.inference_mode(), half:
            logits, features = model(images)
        return logits, features

    return forward


def recorder(device: torch.device) -> Callable[[Launch], Launch]:
    """Make the function that captures a launch as a CUDA graph and returns its replay.

    The graphs share one pool of memory: they run one at a time and leave nothing in it, for the logits are copied out.
    """
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    pool = torch.cuda.graph_pool_handle()

    def record(launch: Launch) -> Launch:
        graph = torch.cuda.CUDAGraph()
        # Sizes that never change repay cuDNN's search for the fastest kernels; TF32 would make f32 inexact.
        with torch.cuda.device(device), torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False):
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(WARM_UPS):
                    launch()
            torch.cuda.current_stream().wait_stream(stream)
            with torch.cuda.graph(graph, pool=pool, stream=stream):
                launch()
        return graph.replay

    return record


def padded_size(rows: int) -> int:
    """Round a number of rows, from 1 to MAX_BATCH, up to the next fixed size."""
    return next(size for size in FIXED_SIZES if size >= rows)


def load_module(folder: Path, device: torch.device) -> nn.Module:
    """Load the graph: uint8 (N, side, side, 3) to logits (N, classes) and feature map, N at most MAX_BATCH."""
    program = torch.export.load(folder / TORCH_FILE)
    return move_to_device_pass(program, device).module()
