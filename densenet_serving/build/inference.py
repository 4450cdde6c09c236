"""A model that was not packed yet, on this machine: its answers and its speed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from densenet_serving import paths
from densenet_serving.errors import WeightsError
from handler.card import Preprocessing
from handler.engines.openvino import core, openvino
from handler.images import pixels_of

if TYPE_CHECKING:
    from densenet_serving.build.networks import ServingModel

# Of what is not int8: "native" is what OpenVINO chooses, bf16 if the processor has it.
Arithmetic = Literal["native", "f32"]

BATCH = 4  # images: batchSize in handler/model-config.yaml
SECONDS = 2.0


def compile_graph(graph: Any, arithmetic: Arithmetic, threads: int = 0) -> Any:
    """Compile an openvino.Model as the worker's engine does; `threads` of 0 leaves their number to OpenVINO."""
    properties = openvino.properties
    config: dict[str, Any] = {properties.hint.performance_mode(): properties.hint.PerformanceMode.LATENCY}
    if threads:
        config |= {properties.inference_num_threads(): threads, properties.hint.enable_cpu_pinning(): False}
    if arithmetic == "f32":
        config[properties.hint.inference_precision()] = openvino.Type.f32
    return core().compile_model(graph, "CPU", config)


def check_finite(model: ServingModel, spec: Preprocessing, checkpoint: Path) -> None:
    """Raise WeightsError if the model's answer to the sample photo is NaN or infinite, although its weights are not."""
    import torch

    pixels = pixels_of(paths.SAMPLE_PHOTO.read_bytes(), spec)
    with torch.inference_mode():
        answer, _ = model.eval()(torch.tensor(pixels)[None])
    if not bool(torch.isfinite(answer).all()):
        raise WeightsError(
            f"{checkpoint} gives answers that are NaN or infinite to {paths.SAMPLE_PHOTO.name}: give a "
            "checkpoint of an earlier epoch."
        )


def logits(graph: Any, photos: NDArray[np.uint8], arithmetic: Arithmetic) -> NDArray[np.float32]:
    """Infer photos (n, side, side, 3); returns the logits (n, classes)."""
    request = compile_graph(graph, arithmetic).create_infer_request()
    batches = (photos[start : start + BATCH] for start in range(0, len(photos), BATCH))
    return np.concatenate([request.infer({0: batch}, share_inputs=True)[0] for batch in batches])


def images_per_second(graphs: Mapping[str, tuple[Any, Arithmetic]], photos: NDArray[np.uint8]) -> dict[str, float]:
    """Time each graph on one thread, with batches of BATCH photos, for about SECONDS each.

    The graphs take turns, so that whatever else the machine does slows all of them. Each is as fast as its median.
    """
    requests = {name: compile_graph(*graph, threads=1).create_infer_request() for name, graph in graphs.items()}
    batch = photos[:BATCH]
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
