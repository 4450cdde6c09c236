"""A graph to int8 by NNCF's post-training quantization, compared with f32 before anybody uses it.

quantize all layers -> compare with f32 -> while too few answers agree: leave the most sensitive layers out, and again
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handler.engines.openvino import OPENVINO_FILE
from handler.engines.openvino_runtime import openvino
from handler.labels import softmax
from scripts.errors import CommandError
from scripts.model.agreement import Agreement, compare
from scripts.model.calibration import Photos
from scripts.model.export import rename_nodes
from scripts.model.inference import Arithmetic, images_per_second, logits
from scripts.model.sensitivity import most_sensitive_first, quantized_layers

MIN_AGREEMENT = 0.99
# The order of the layers hardly changes with more (docs/int8.md), and each photo is inferred once a layer.
RANKING_PHOTOS = 32


@dataclass(frozen=True)
class Measured:
    """One precision on the machine that built the archive: images/s on one thread, and its answers beside f32's."""

    precision: str
    images_per_second: float
    agreement: Agreement


@dataclass(frozen=True)
class QuantizationReport:
    """What int8 costs and gains. Of `layers` that can be int8, `kept` stayed in higher precision.

    `measured` has f32, bf16 if the processor has it, and int8 with everything else in the processor's own precision.
    """

    calibrated_on: str
    layers: int
    kept: int
    measured: tuple[Measured, ...]


def quantize_folder(folder: Path, photos: Photos, min_agreement: float = MIN_AGREEMENT) -> QuantizationReport:
    """Replace the exported model.xml and model.bin in `folder` by their int8 form. Raises CommandError."""
    path = folder / OPENVINO_FILE
    quantized, report = quantize(openvino.Core().read_model(path), photos, min_agreement)
    rename_nodes(quantized)
    # The old file is mapped into memory, and f32 weights that stay are read from it while the new one is written.
    partial = path.with_stem("quantized")
    openvino.save_model(quantized, partial, compress_to_fp16=False)
    for suffix in (".bin", ".xml"):
        partial.with_suffix(suffix).replace(path.with_suffix(suffix))
    return report


def quantize(graph: Any, photos: Photos, min_agreement: float) -> tuple[Any, QuantizationReport]:
    """Quantize an exported openvino.Model; as many layers stay in higher precision as `min_agreement` needs.

    `min_agreement` is the share of comparison photos, 0 to 1, whose first class must be that of f32; with 0 every layer
    becomes int8. Raises CommandError if the share is not reached with half of the layers, or if NNCF is not installed.
    """
    exact = softmax(logits(graph, photos.comparison, "f32"))

    def agreement_of(candidate: Any, arithmetic: Arithmetic = "native") -> Agreement:
        return compare(softmax(logits(candidate, photos.comparison, arithmetic)), exact)

    quantized, kept = _quantize_layers(graph, photos.calibration, []), 0
    agreement, layers = agreement_of(quantized), quantized_layers(quantized)
    if agreement.top_1 < min_agreement:
        ranked = most_sensitive_first(graph, quantized, photos.calibration[:RANKING_PHOTOS])
        for kept in _counts(len(ranked)):
            quantized = _quantize_layers(graph, photos.calibration, ranked[:kept])
            agreement = agreement_of(quantized)
            if agreement.top_1 >= min_agreement:
                break
    if agreement.top_1 < min_agreement:
        raise CommandError(_refusal(agreement, kept, len(layers), min_agreement))

    graphs: dict[str, tuple[Any, Arithmetic]] = {"f32": (graph, "f32")}
    agreements = {"f32": compare(exact, exact), "int8": agreement}
    if has_bf16():
        graphs["bf16"] = (graph, "native")
        agreements["bf16"] = agreement_of(graph)
    graphs["int8"] = (quantized, "native")
    speeds = images_per_second(graphs, photos.comparison)
    measured = tuple(Measured(name, speed, agreements[name]) for name, speed in speeds.items())
    return quantized, QuantizationReport(photos.source, len(layers), kept, measured)


def has_bf16() -> bool:
    """Say whether OpenVINO infers in bf16 by itself on this processor."""
    return "BF16" in openvino.Core().get_property("CPU", openvino.properties.device.capabilities())


def _quantize_layers(graph: Any, photos: NDArray[np.uint8], ignored: Sequence[str]) -> Any:
    """Quantize all layers but those named in `ignored`; the graph itself stays as it is."""
    if find_spec("nncf") is None:
        raise CommandError("int8 needs NNCF where archives are built: run pip install '.[int8]'.")
    with _quiet():
        import nncf

        nncf.set_log_level(logging.ERROR)
        return nncf.quantize(
            graph.clone(),
            nncf.Dataset([photo[None] for photo in photos]),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(photos),
            ignored_scope=nncf.IgnoredScope(names=list(ignored)) if ignored else None,
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep NNCF's progress bars out of standard output, which belongs to a command's results."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def _counts(layers: int) -> Iterator[int]:
    """1, 2, 4 and so on, up to half of the layers: past that int8 hardly gains anything."""
    count = 1
    while count <= layers // 2:
        yield count
        count *= 2


def _refusal(agreement: Agreement, kept: int, layers: int, min_agreement: float) -> str:
    return (
        f"int8 gives {agreement.top_1:.1%} of {agreement.photos} photos the first class that f32 gives them "
        f"({agreement.top_5_sets:.1%} the same first five, and a probability changes by up to "
        f"{agreement.largest_change:.2f}), with {kept} of {layers} layers in higher precision, and --min-agreement "
        f"asks for {min_agreement:.1%}: calibrate on more photos like those the model will be asked about, lower "
        "--min-agreement, or build without int8."
    )
