"""The model in OpenVINO, on the CPU; OpenVINO is imported here, without its telemetry, and has one Core.

As it comes, importing it writes an id into the home folder and reports the import to Google Analytics, from a process
of its own that takes a core for a second.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handler.cores import Threads
from handler.engines import Engine, Outputs, no_features
from handler.errors import ArchiveError
from handler.settings import Settings

# None stands for a package that cannot be imported, and OpenVINO then takes a stub that reports nothing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino as openvino  # noqa: E402

OPENVINO_FILE = "model.xml"
QUANTIZER = "FakeQuantize"  # the operation that marks what is computed in int8


@cache
def core() -> Any:
    """Return this process's only openvino.Core.

    The CPU plugin of each Core gives the thread a stack for signals, and when the Core goes, the stack of the Core
    before it. If that one went first, the stack is memory that is no longer there, and the next signal ends the
    process with a segmentation fault (OpenVINO 2026.4).
    """
    return openvino.Core()


class OpenVinoEngine(Engine):
    """OpenVINO on the CPU; it chooses bf16 by itself if the processor has it, in an int8 graph for what is not int8.

    With several workers the model is compiled twice: an image that comes alone means that the other workers idle, so it
    gets all cores, while under load each worker keeps to its share.
    """

    def __init__(self, folder: Path, settings: Settings, threads: Threads) -> None:
        """Raises ArchiveError if the settings ask an int8 graph for f32."""
        graph = core().read_model(folder / OPENVINO_FILE)
        is_int8 = any(operation.get_type_name() == QUANTIZER for operation in graph.get_ops())
        if is_int8 and settings.precision == "f32":
            raise ArchiveError(
                "handler.precision is f32, and an int8 archive cannot become f32: set auto in model-config.yaml, or "
                "build it with densenet archive --precision f32."
            )
        compiled = {count: _compile(graph, settings, count) for count in {threads.alone, threads.batch}}
        self._alone = compiled[threads.alone].create_infer_request()
        self._batch = compiled[threads.batch].create_infer_request()
        precision = compiled[threads.batch].get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self.description = {
            "engine": "openvino",
            "precision": "int8" if is_int8 else precision,
            "device": "cpu",
            "threads": threads.batch,
            "threads_alone": threads.alone,
        }

    def _infer(self, batch: NDArray[np.uint8], *, features: bool) -> Outputs:
        request = self._alone if len(batch) == 1 else self._batch
        outputs = request.infer({0: batch}, share_inputs=True, share_outputs=True)
        # The outputs are views into the request's buffers, which the next batch overwrites.
        return outputs[0].copy(), outputs[1].copy() if features else no_features(len(batch))


def _compile(graph: Any, settings: Settings, threads: int) -> Any:
    properties = openvino.properties
    config: dict[str, Any] = {
        properties.hint.performance_mode(): properties.hint.PerformanceMode.LATENCY,
        properties.inference_num_threads(): threads,
        # Pinned threads of two workers would share the first cores and leave the others idle.
        properties.hint.enable_cpu_pinning(): False,
    }
    if settings.precision == "f32":
        config[properties.hint.inference_precision()] = openvino.Type.f32
    return core().compile_model(graph, "CPU", config)


def suits(gpu: int | None) -> bool:
    return gpu is None


def load(folder: Path, settings: Settings, threads: Threads, gpu: int | None) -> OpenVinoEngine:  # noqa: ARG001
    return OpenVinoEngine(folder, settings, threads)
