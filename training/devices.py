"""Where the tensors live."""

from __future__ import annotations

from typing import Annotated

import torch
import typer
from torch import nn

from scripts.errors import CommandError

Device = Annotated[str, typer.Option(help="auto, cpu or cuda; auto takes a GPU where there is one.")]


def choose(name: str) -> torch.device:
    """Resolve auto, cpu, cuda or cuda:N. Raises CommandError where there is no such device."""
    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
    except RuntimeError as error:
        raise CommandError(f"There is no device {name!r}: choose auto, cpu or cuda.") from error
    if device.type not in ("cpu", "cuda") or (device.type == "cuda" and not torch.cuda.is_available()):
        raise CommandError(f"This machine has no {name} that PyTorch can use: choose --device cpu.")
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
    return device


def channels_last(network: nn.Module) -> nn.Module:
    """Lay out the weights as convolutions on a GPU want them."""
    # torch's own annotations miss this form of the call.
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
