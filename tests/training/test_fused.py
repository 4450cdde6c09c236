from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.training.support import tiny
from training import fused


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    if fused.kernels() is None:
        pytest.skip("no bfloat16 in this processor or no C++ compiler: the sections run on PyTorch's own operators")


def outcome(run: Any, network: nn.Module, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    network.zero_grad()
    out = run(network.get_submodule("features"), x)
    # Each value counts differently, so that an error in any place shows.
    (out.float() * torch.linspace(-1, 1, out.numel()).view(out.shape)).mean().backward()
    return out.float().detach(), {
        name: one.grad.clone() for name, one in network.named_parameters() if one.grad is not None
    }


def plain(k: int) -> Any:
    def run(features: nn.Module, x: Tensor) -> Tensor:
        for name in fused.SECTIONS[k]:
            x = features.get_submodule(name)(x)
        return x.relu() if k == 3 else x

    return run


def autocast(run: Any) -> Any:
    def inside(features: nn.Module, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return run(features, x)  # type: ignore[no-any-return]

    return inside


@pytest.mark.parametrize("k", range(4))
def test_a_section_is_as_exact_as_pytorch_is_in_bfloat16(k: int) -> None:
    torch.manual_seed(0)
    network = tiny().train()
    side = 64 if k == 0 else 16
    x = torch.randn(8, 3 if k == 0 else 8, side, side)
    exact, gradients = outcome(plain(k), network, x)
    theirs, their_gradients = outcome(autocast(plain(k)), network, x)
    ours, our_gradients = outcome(lambda features, x: fused.section(features, k, x), network, x)
    assert our_gradients.keys() == gradients.keys()

    def error(one: Tensor, truth: Tensor) -> float:
        return float((one - truth).norm() / truth.norm())

    assert error(ours, exact) < 1.5 * error(theirs, exact) + 0.005
    for name, truth in gradients.items():
        if float(truth.norm()) > 1e-6:  # a weight before a batch normalization may have none
            assert error(our_gradients[name], truth) < 1.5 * error(their_gradients[name], truth) + 0.02, name


def test_statistics_are_exact_over_many_rows() -> None:
    rows = (torch.randn(5000, 24) * 3 + 7).bfloat16()
    mean, variance = torch.empty(2, 24)
    fused.kernels().statistics(rows, mean, variance)
    torch.testing.assert_close(mean, rows.double().mean(0).float(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(variance, rows.double().var(0, correction=0).float(), rtol=1e-3, atol=1e-4)
