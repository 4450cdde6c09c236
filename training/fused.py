"""A section of DenseNet-121 for training, in half the time that PyTorch's own operators take on a CPU.

Training a DenseNet is bound by memory, not by arithmetic. Here a dense block writes into one buffer instead of
concatenating, computes each channel's statistics once for all layers that read it, and normalizes and clips in one
pass (fused.cpp). Without bfloat16 or a C++ compiler, and on a GPU, the same section runs on PyTorch's operators.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from densenet_serving.console import warn

BF16 = torch.bfloat16
SECTIONS = (
    ("conv0", "norm0", "relu0", "pool0", "denseblock1", "transition1"),
    ("denseblock2", "transition2"),
    ("denseblock3", "transition3"),
    ("denseblock4", "norm5"),
)


def section(features: nn.Module, k: int, x: Tensor) -> Tensor:
    """Run section k of DenseNet-121's features in training mode: (N, C, H, W) to the next section's input.

    The last section ends in the ReLU that DenseNet-121 has behind its features.
    """
    if x.device.type == "cpu" and kernels() is not None:
        return _fused(features, k, x)
    for name in SECTIONS[k]:
        x = features.get_submodule(name)(x)
    return functional.relu(x) if k == 3 else x


@cache
def kernels() -> Any:
    """Compile fused.cpp. Returns None without bfloat16 in the processor, or, with a warning, without a compiler."""
    if not torch.cpu._is_avx512_bf16_supported():
        return None
    from torch.utils.cpp_extension import load

    # ninja, which torch calls by name, is beside the interpreter and perhaps not on the PATH.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    flags = ["-O3", "-march=native", "-ffast-math"]
    try:
        return load("densenet_fused", [str(Path(__file__).with_name("fused.cpp"))], extra_cflags=flags)
    except (RuntimeError, OSError) as error:
        warn(f"fused.cpp cannot be compiled, so training takes twice as long ({str(error).splitlines()[0][:200]}).")
        return None


class Normalize(torch.autograd.Function):
    """relu(batch_norm(x)) of rows (P, C), with the statistics of the batch."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        mean, variance = torch.empty(2, x.shape[1])
        compiled = kernels()
        compiled.statistics(x, mean, variance)
        out = torch.empty_like(x)
        compiled.forward(x, mean, variance, gamma, beta, out)
        ctx.save_for_backward(x, mean, variance, gamma, beta)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        into = torch.zeros_like(ctx.saved_tensors[0])
        return (into, *kernels().backward(gradient.contiguous(), *ctx.saved_tensors, into))


class DenseBlock(torch.autograd.Function):
    """A dense block over rows (P, C): each layer appends its channels to one buffer.

    The parameters are six for each layer: gamma, beta and weight of the 1x1 convolution, then of the 3x3 convolution.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, shape: tuple[int, int, int], *parameters: Tensor) -> Tensor:
        compiled, count = kernels(), len(x)
        layers = list(zip(*[iter(parameters)] * 6, strict=True))
        growth = layers[0][5].shape[0]
        width = x.shape[1] + growth * len(layers)
        buffer = torch.empty(count, width, dtype=BF16)
        buffer[:, : x.shape[1]] = x
        mean, variance = torch.empty(2, width)
        compiled.statistics(x, mean, variance)
        kept = []
        for number, (gamma1, beta1, weight1, gamma2, beta2, weight2) in enumerate(layers):
            used = x.shape[1] + growth * number
            first = torch.empty(count, used, dtype=BF16)
            compiled.forward(buffer[:, :used], mean, variance, gamma1, beta1, first)
            between = functional.linear(first, weight1)
            moments = torch.empty(2, between.shape[1])
            compiled.statistics(between, moments[0], moments[1])
            second = torch.empty_like(between)
            compiled.forward(between, moments[0], moments[1], gamma2, beta2, second)
            new = rows_of(functional.conv2d(image_of(second, shape), weight2, padding=1))
            buffer[:, used : used + growth] = new
            compiled.statistics(new, mean[used:], variance[used:])
            kept.append((first, between, second, moments))
        ctx.state = (shape, layers, growth, x.shape[1], buffer, mean, variance, kept)
        return buffer

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        compiled = kernels()
        shape, layers, growth, start, buffer, mean, variance, kept = ctx.state
        ctx.state = None  # it holds the output, which holds ctx
        total = gradient.clone(memory_format=torch.contiguous_format)
        found: list[Tensor] = []
        for number in reversed(range(len(layers))):
            gamma1, beta1, weight1, gamma2, beta2, weight2 = layers[number]
            first, between, second, moments = kept.pop()
            used = start + growth * number
            of_new = image_of(total[:, used : used + growth].contiguous(), shape)
            of_second, of_weight2, _ = torch.ops.aten.convolution_backward(
                of_new, image_of(second, shape), weight2, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [1, 1, 0]
            )
            of_between = torch.zeros_like(between)
            norm2 = compiled.backward(rows_of(of_second), between, moments[0], moments[1], gamma2, beta2, of_between)
            of_weight1 = of_between.t() @ first
            of_first = of_between @ weight1
            norm1 = compiled.backward(of_first, buffer[:, :used], mean, variance, gamma1, beta1, total[:, :used])
            found = [*norm1, of_weight1, *norm2, of_weight2, *found]
        return (total[:, :start].contiguous(), None, *found)


def image_of(rows: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """View rows (N * H * W, C) as a channels-last image (N, C, H, W)."""
    return rows.view(*shape, -1).permute(0, 3, 1, 2)


def rows_of(image: Tensor) -> Tensor:
    return image.permute(0, 2, 3, 1).reshape(-1, image.shape[1])


def _fused(features: Any, k: int, x: Tensor) -> Tensor:
    x = x.to(BF16)
    if k == 0:
        stem = functional.conv2d(x, features.conv0.weight.to(BF16), stride=2, padding=3)
        x = functional.max_pool2d(_normalized(features.norm0, stem), 3, 2, 1)
    parameters: list[Tensor] = []
    for layer in cast(Iterable[Any], features.get_submodule(f"denseblock{k + 1}").children()):
        parameters += [layer.norm1.weight, layer.norm1.bias, layer.conv1.weight.flatten(1).to(BF16)]
        parameters += [layer.norm2.weight, layer.norm2.bias, layer.conv2.weight.to(BF16)]
    shape = (x.shape[0], x.shape[2], x.shape[3])
    rows: Tensor = DenseBlock.apply(rows_of(x), shape, *parameters)  # type: ignore[no-untyped-call]
    if k == 3:
        return _normalized(features.norm5, image_of(rows, shape))
    transition = features.get_submodule(f"transition{k + 1}")
    # Pooling before a 1x1 convolution gives the same as after it, for a quarter of the arithmetic.
    pooled = functional.avg_pool2d(_normalized(transition.norm, image_of(rows, shape)), 2)
    return functional.conv2d(pooled, transition.conv.weight.to(BF16))


def _normalized(norm: nn.BatchNorm2d, image: Tensor) -> Tensor:
    rows: Tensor = Normalize.apply(rows_of(image), norm.weight, norm.bias)  # type: ignore[no-untyped-call]
    return image_of(rows, (image.shape[0], image.shape[2], image.shape[3]))
