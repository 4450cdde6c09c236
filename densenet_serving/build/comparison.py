"""A graph in several precisions here: how far their answers to the same photos agree, and how fast they are."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from handler.engines.openvino import core, openvino
from handler.labels import softmax

Probabilities = NDArray[np.float64]
# Of what is not int8: "native" is what OpenVINO chooses, bf16 if the processor has it.
Arithmetic = Literal["native", "f32"]

HEADINGS = ("Photos", "Top-1 agrees", "Top-5 sets agree", "Largest change", "Mean change of the best")
BATCH = 4  # images: batchSize in handler/model-config.yaml
SECONDS = 2.0  # to time each precision


@dataclass(frozen=True)
class Agreement:
    """`top_1` and `top_5_sets` are shares of the photos, 0 to 1; changes are those of probabilities."""

    photos: int
    top_1: float
    top_5_sets: float
    largest_change: float
    mean_change_of_best: float

    def cells(self) -> list[str]:
        """Under HEADINGS."""
        return [
            str(self.photos),
            f"{self.top_1:.1%}",
            f"{self.top_5_sets:.1%}",
            f"{self.largest_change:.3f}",
            f"{self.mean_change_of_best:.4f}",
        ]


def compare(changed: Probabilities, exact: Probabilities) -> Agreement:
    """Compare two arrays (photos, classes) row by row."""
    top_5 = [np.sort(np.argsort(-one, axis=1)[:, :5], axis=1) for one in (changed, exact)]
    change = np.abs(changed - exact)
    best = exact.argmax(axis=1)
    return Agreement(
        photos=len(exact),
        top_1=float((changed.argmax(axis=1) == best).mean()),
        top_5_sets=float((top_5[0] == top_5[1]).all(axis=1).mean()),
        largest_change=float(change.max()),
        mean_change_of_best=float(change[np.arange(len(best)), best].mean()),
    )


@dataclass(frozen=True)
class Measured:
    """One precision on this machine: images/s on one thread, and its answers beside those of f32."""

    precision: str
    images_per_second: float
    agreement: Agreement


def measure(graph: Any, quantized: Any, photos: NDArray[np.uint8]) -> tuple[Measured, ...]:
    """Measure f32, bf16 if the processor has it, and int8, on photos (n, side, side, 3) that calibration did not see.

    `quantized` computes what is not int8 in the processor's own precision, as it does when it is served.
    """
    graphs: dict[str, tuple[Any, Arithmetic]] = {"f32": (graph, "f32")}
    if has_bf16():
        graphs["bf16"] = (graph, "native")
    graphs["int8"] = (quantized, "native")
    answers = {name: probabilities(one, photos, arithmetic) for name, (one, arithmetic) in graphs.items()}
    speeds = images_per_second(graphs, photos[:BATCH])
    return tuple(Measured(name, speeds[name], compare(answers[name], answers["f32"])) for name in graphs)


def table(measured: Iterable[Measured]) -> Table:
    """Lay the precisions out for a terminal."""
    rows = Table("Precision", "Images/s", *HEADINGS, box=None)
    for one in measured:
        rows.add_row(one.precision, f"{one.images_per_second:.1f}", *one.agreement.cells())
    return rows


def has_bf16() -> bool:
    """Say whether OpenVINO infers in bf16 by itself on this processor."""
    return "BF16" in core().get_property("CPU", openvino.properties.device.capabilities())


def probabilities(graph: Any, photos: NDArray[np.uint8], arithmetic: Arithmetic) -> Probabilities:
    """Infer photos (n, side, side, 3) with an openvino.Model; returns the classes' probabilities (n, classes)."""
    request = _compile(graph, arithmetic).create_infer_request()
    batches = (photos[start : start + BATCH] for start in range(0, len(photos), BATCH))
    return softmax(np.concatenate([request.infer({0: batch}, share_inputs=True)[0] for batch in batches]))


def images_per_second(graphs: Mapping[str, tuple[Any, Arithmetic]], batch: NDArray[np.uint8]) -> dict[str, float]:
    """Time each graph on one thread for about SECONDS.

    The graphs take turns, so that whatever else the machine does slows all of them. Each is as fast as its median.
    """
    requests = {name: _compile(*graph, threads=1).create_infer_request() for name, graph in graphs.items()}
    taken: dict[str, list[float]] = {name: [] for name in requests}
    for request in requests.values():
        request.infer({0: batch})  # the first run also allocates
    until = time.perf_counter() + SECONDS * len(requests)
    while not taken[next(iter(taken))] or time.perf_counter() < until:
        for name, request in requests.items():
            start = time.perf_counter()
            request.infer({0: batch}, share_inputs=True, share_outputs=True)
            taken[name].append(time.perf_counter() - start)
    return {name: float(len(batch) / np.median(seconds)) for name, seconds in taken.items()}


def _compile(graph: Any, arithmetic: Arithmetic, threads: int = 0) -> Any:
    """Compile an openvino.Model as the worker's engine does; `threads` of 0 leaves their number to OpenVINO."""
    properties = openvino.properties
    config: dict[str, Any] = {properties.hint.performance_mode(): properties.hint.PerformanceMode.LATENCY}
    if threads:
        config |= {properties.inference_num_threads(): threads, properties.hint.enable_cpu_pinning(): False}
    if arithmetic == "f32":
        config[properties.hint.inference_precision()] = openvino.Type.f32
    return core().compile_model(graph, "CPU", config)
