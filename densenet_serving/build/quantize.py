"""A graph to int8 by NNCF's post-training quantization, compared with f32 before anybody uses it.

quantize all layers but the thin ones -> compare with f32 -> while too few answers agree: leave out the most sensitive
layers as well, and again
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densenet_serving.build.agreement import Agreement, Probabilities, compare
from densenet_serving.build.calibration import Photos
from densenet_serving.build.export import rename_nodes
from densenet_serving.build.inference import logits
from densenet_serving.build.precisions import Measured, measure
from densenet_serving.build.sensitivity import most_sensitive_first, quantized_layers, thin_layers
from densenet_serving.errors import CommandError
from handler.engines.openvino import OPENVINO_FILE, core, openvino
from handler.labels import softmax

# As in docs/int8.md: enough to tell the layers that cost most, and few, as each is inferred once a layer.
RANKING_PHOTOS = 64


@dataclass(frozen=True)
class QuantizationReport:
    """What int8 costs and gains on the machine that quantized: of `layers`, `kept` stayed in higher precision."""

    calibrated_on: str
    layers: int
    kept: int
    measured: tuple[Measured, ...]

    def on_card(self) -> dict[str, Any]:
        """Return what the model card says. Speeds are left out: equal input must give equal archives."""
        return {
            "precision": "int8",
            "quantized_with": f"nncf {version('nncf')}",
            "calibrated_on": self.calibrated_on,
            "layers": self.layers,
            "layers_in_higher_precision": self.kept,
            "agreement_with_f32": {
                one.precision: {name: round(value, 4) for name, value in asdict(one.agreement).items()}
                for one in self.measured
                if one.precision != "f32"
            },
        }


def check_installed() -> None:
    """Raise CommandError if NNCF is not installed."""
    if find_spec("nncf") is None:
        raise CommandError(
            "int8 needs NNCF where archives are built: run pip install -e '.[int8]', or leave out --precision."
        )


def quantize_folder(folder: Path, photos: Photos, min_agreement: float) -> QuantizationReport:
    """Replace the exported model.xml and model.bin in `folder` by their int8 form. Raises CommandError."""
    path = folder / OPENVINO_FILE
    quantized, report = quantize(core().read_model(path), photos, min_agreement)
    rename_nodes(quantized)
    # The old file is mapped into memory, and f32 weights that stay are read from it while the new one is written.
    partial = path.with_stem("quantized")
    openvino.save_model(quantized, partial, compress_to_fp16=False)
    for suffix in (".bin", ".xml"):
        partial.with_suffix(suffix).replace(path.with_suffix(suffix))
    return report


def compare_precisions(folder: Path, photos: Photos) -> tuple[Measured, ...]:
    """Measure f32, bf16 if the processor has it, and int8 without any bar; the graph in `folder` stays as it is."""
    _, report = quantize(core().read_model(folder / OPENVINO_FILE), photos, min_agreement=0)
    return report.measured


def quantize(graph: Any, photos: Photos, min_agreement: float) -> tuple[Any, QuantizationReport]:
    """Quantize an exported openvino.Model; as many layers stay in higher precision as `min_agreement` needs.

    Thin layers always do. `min_agreement` is the share of comparison photos, 0 to 1, whose first class must be that of
    f32; with 0 every other layer becomes int8. Raises CommandError if the share is not reached with half of them, or if
    NNCF is not installed.
    """
    exact = softmax(logits(graph, photos.comparison, "f32"))
    candidates = _candidates(graph, photos, exact)
    best = next(candidates)
    while best.agreement.top_1 < min_agreement and (another := next(candidates, None)):
        best = max(best, another, key=lambda candidate: candidate.agreement.top_1)
    layers = len(quantized_layers(best.graph)) + best.kept
    if best.agreement.top_1 < min_agreement:
        raise CommandError(_refusal(best, layers, min_agreement))
    measured = measure(graph, best.graph, photos.comparison, {"f32": exact, "int8": best.answers})
    return best.graph, QuantizationReport(photos.source, layers, best.kept, measured)


@dataclass(frozen=True)
class _Candidate:
    """A quantized graph in which `kept` layers stayed in higher precision, and how far its answers are those of f32."""

    graph: Any
    kept: int
    answers: Probabilities
    agreement: Agreement


def _candidates(graph: Any, photos: Photos, exact: Probabilities) -> Iterator[_Candidate]:
    """Quantize all layers but the thin ones, then without the most sensitive one, two, four and so on, up to half.

    The photos of the comparison take part in no ranking: the bar is held against them a few times, and they stay fair.
    `exact` are the answers to them in f32.
    """

    def without(ignored: Sequence[str]) -> _Candidate:
        quantized = _quantize_layers(graph, photos.calibration, ignored)
        answers = softmax(logits(quantized, photos.comparison, "native"))
        return _Candidate(quantized, len(ignored), answers, compare(answers, exact))

    thin = thin_layers(graph)
    full = without(thin)
    yield full
    ranked = most_sensitive_first(graph, full.graph, photos.calibration[:RANKING_PHOTOS])
    count = 1
    while count <= len(ranked) // 2:
        yield without([*thin, *ranked[:count]])
        count *= 2


def _quantize_layers(graph: Any, photos: NDArray[np.uint8], ignored: Sequence[str]) -> Any:
    """Quantize all layers but those named in `ignored`; the graph itself stays as it is."""
    check_installed()
    with _quiet():
        import nncf

        nncf.set_log_level(logging.ERROR)
        return nncf.quantize(
            graph.clone(),
            nncf.Dataset([photo[None] for photo in photos]),
            preset=nncf.QuantizationPreset.PERFORMANCE,
            subset_size=len(photos),
            ignored_scope=nncf.IgnoredScope(names=list(ignored)) if ignored else None,
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep NNCF's progress bars out of standard output, which belongs to a command's results."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def _refusal(best: _Candidate, layers: int, min_agreement: float) -> str:
    found = best.agreement
    return (
        f"int8 gives {found.top_1:.1%} of {found.photos} photos the first class that f32 gives them "
        f"({found.top_5_sets:.1%} the same first five, and a probability changes by up to {found.largest_change:.2f}) "
        f"at best, with {best.kept} of {layers} layers in higher precision, and --min-agreement asks for "
        f"{min_agreement:.1%}: calibrate on more photos like those the model will be asked about, lower "
        "--min-agreement, or build without int8."
    )
