"""The precisions a graph can be served in, side by side on this machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from densenet_serving.build.agreement import HEADINGS, Agreement, Probabilities, compare
from densenet_serving.build.inference import Arithmetic, images_per_second, logits
from handler.engines.openvino import core, openvino
from handler.labels import softmax


@dataclass(frozen=True)
class Measured:
    """One precision on this machine: images/s on one thread, and its answers beside those of f32."""

    precision: str
    images_per_second: float
    agreement: Agreement


def measure(
    graph: Any, quantized: Any, photos: NDArray[np.uint8], known: Mapping[str, Probabilities]
) -> tuple[Measured, ...]:
    """Measure f32, bf16 if the processor has it, and int8, on photos (n, side, side, 3) that calibration did not see.

    `quantized` computes what is not int8 in the processor's own precision, as it does when it is served. `known` has
    the answers that the caller has already, by precision.
    """
    graphs: dict[str, tuple[Any, Arithmetic]] = {"f32": (graph, "f32")}
    if has_bf16():
        graphs["bf16"] = (graph, "native")
    graphs["int8"] = (quantized, "native")
    answers = {
        name: known[name] if name in known else softmax(logits(one, photos, arithmetic))
        for name, (one, arithmetic) in graphs.items()
    }
    speeds = images_per_second(graphs, photos)
    return tuple(Measured(name, speeds[name], compare(answers[name], answers["f32"])) for name in graphs)


def has_bf16() -> bool:
    """Say whether OpenVINO infers in bf16 by itself on this processor."""
    return "BF16" in core().get_property("CPU", openvino.properties.device.capabilities())


def table(measured: Iterable[Measured]) -> Table:
    """Lay the precisions out for a terminal."""
    rows = Table("Precision", "Images/s", *HEADINGS, box=None)
    for one in measured:
        rows.add_row(one.precision, f"{one.images_per_second:.1f}", *one.agreement.cells())
    return rows
