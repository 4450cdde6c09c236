"""What of the CUDA engine can be shown on the CPU: sizes, buffers, precision and layout. The rest is in test_gpu.py."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from handler.engines import MAX_BATCH
from handler.engines import torch as torch_engine
from handler.engines.torch import FIXED_SIZES, HALF, FixedBatches, Forward, Launch, padded_size, prepare
from handler.labels import softmax

CPU = torch.device("cpu")
SIDE, CLASSES = 4, 3


class Recorder:
    """Stands for the capture of graphs: records the sizes and addresses of launches, and which were replayed."""

    def __init__(self) -> None:
        self.replayed: list[int] = []
        self.sizes: list[int] = []
        self.addresses: set[int] = set()

    def __call__(self, launch: Launch) -> Launch:
        launch()  # as a warm-up does
        size = self.sizes[-1]

        def replay() -> None:
            self.replayed.append(size)
            launch()

        return replay

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Three sums of an image's own pixels."""
        self.sizes.append(len(images))
        self.addresses.add(images.data_ptr())
        return images.float().sum(dim=(1, 2)), images


def noise(rows: int, side: int = SIDE) -> NDArray[np.uint8]:
    return np.random.default_rng(rows).integers(0, 256, (rows, side, side, 3), np.uint8)


def test_a_graph_is_recorded_for_each_size_the_largest_first() -> None:
    recorder = Recorder()
    FixedBatches(recorder.forward, SIDE, CLASSES, CPU, recorder)
    assert recorder.sizes == [32, 16, 8, 4, 2, 1] == sorted(FIXED_SIZES, reverse=True)
    assert recorder.replayed == []


def test_a_batch_of_any_size_gets_its_own_logits_whatever_came_before_and_after() -> None:
    recorder = Recorder()
    run = FixedBatches(recorder.forward, SIDE, CLASSES, CPU, recorder)
    batches = [noise(rows) for rows in [*range(1, MAX_BATCH + 1), 5, 1, 32, 3]]
    logits = [run(batch) for batch in batches]
    assert recorder.replayed == [padded_size(len(batch)) for batch in batches]
    assert len(recorder.addresses) == 1, "a replay reads the addresses of the capture"
    for found, batch in zip(logits, batches, strict=True):
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, batch.sum(axis=(1, 2)))


@pytest.fixture(scope="module")
def densenet(densenet_folder: Path) -> nn.Module:
    return torch_engine.load_module(densenet_folder, CPU)


def test_fixed_sizes_agree_with_the_network_itself_in_f32(densenet: nn.Module) -> None:
    batch = noise(6, 224)
    with torch.inference_mode():
        expected = densenet(torch.from_numpy(batch))[0].numpy()
    run = FixedBatches(prepared(densenet, torch.float32), 224, 1000, CPU, lambda launch: launch)
    for rows in (1, 3, 6):  # a size of its own, and two that are padded
        np.testing.assert_allclose(run(batch[:rows]), expected[:rows], atol=1e-4)


def prepared(module: nn.Module, dtype: torch.dtype) -> Forward:
    """Prepare a copy: modules as they were exported are loaded once."""
    return prepare(deepcopy(module), CPU, dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (HALF, 0.01), (torch.bfloat16, 0.1)])
def test_photos_keep_their_names(
    stand_in_folder: Path, photos: NDArray[np.uint8], dtype: torch.dtype, tolerance: float
) -> None:
    stand_in = torch_engine.load_module(stand_in_folder, CPU)
    with torch.inference_mode():
        exact = softmax(stand_in(torch.from_numpy(photos))[0].numpy())
    logits, features = prepared(stand_in, dtype)(torch.from_numpy(photos))
    assert len(features) == len(photos)
    assert logits.dtype == dtype
    probabilities = softmax(logits.float().numpy())
    np.testing.assert_allclose(probabilities, exact, atol=tolerance)
    if dtype != torch.bfloat16:  # it may well swap two breeds that are equally likely
        np.testing.assert_array_equal(probabilities.argmax(axis=1), exact.argmax(axis=1))


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down what PyTorch computes and from which tensors, after autocast has cast them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[tuple[str, list[Tensor]]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.calls.append((str(func.overloadpacket), [one for one in args if isinstance(one, Tensor)]))
        return func(*args, **kwargs or {})

    def inputs(self, name: str) -> list[list[Tensor]]:
        return [tensors for called, tensors in self.calls if called == name]


@pytest.fixture(scope="module")
def operations(densenet: nn.Module) -> Operations:
    """Every operation of DenseNet-121 on an image in half precision."""
    forward = prepared(densenet, HALF)
    operations = Operations()
    with operations:
        forward(torch.zeros((1, 224, 224, 3), dtype=torch.uint8))
    return operations


def test_convolutions_compute_in_half_precision_channels_last(operations: Operations) -> None:
    convolutions = operations.inputs("aten.conv2d")
    assert len(convolutions) == 120
    for images, weight in convolutions:
        assert images.dtype == weight.dtype == HALF
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert weight.is_contiguous(memory_format=torch.channels_last)


def test_normalisation_keeps_its_f32_constants_and_no_weight_is_cast(operations: Operations) -> None:
    norms = operations.inputs("aten.batch_norm")
    assert len(norms) == 121
    assert {constant.dtype for _, *constants in norms for constant in constants} == {torch.float32}
    (scaled,) = operations.inputs("aten.mul")
    assert {one.dtype for one in scaled} == {torch.float32}
    # The pixels are cast, to f32 and then to half precision, and the last layer's bias.
    casts = operations.inputs("aten.to")
    assert [tuple(source.shape) for (source,) in casts] == [(1, 3, 224, 224), (1, 3, 224, 224), (1000,)]
    # A capture fails where the host asks the GPU for a number.
    waiting = {"aten._local_scalar_dense", "aten.item", "aten.is_nonzero", "aten.nonzero", "aten.equal"}
    assert not waiting & {name for name, _ in operations.calls}
