"""A graph to int8 by NNCF's post-training quantization, compared with f32 before anybody uses it.

quantize all layers but the thin ones -> compare with f32 -> while too few answers agree: leave out the most sensitive
layers as well, and again
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densenet_serving.build.calibration import Photos
from densenet_serving.build.comparison import Agreement, Measured, compare, measure, probabilities
from densenet_serving.build.graph import rename_nodes
from densenet_serving.errors import CommandError
from handler.engines.openvino import OPENVINO_FILE, core, openvino

# As in docs/int8.md: enough to tell the layers that cost most, and few, as each is inferred once a layer.
RANKING_PHOTOS = 64
# What OpenVINO computes in int8; everything else follows its neighbors.
LAYERS = ("Convolution", "GroupConvolution", "MatMul")
# An instruction for int8 (VNNI's vpdpbusd, Arm's sdot) multiplies and adds so many neighboring channels at once.
CHANNELS_AT_ONCE = 4


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


def quantize_folder(folder: Path, photos: Photos, min_agreement: float, *, keep: bool = False) -> QuantizationReport:
    """Quantize the exported model.xml and model.bin in `folder`; replace them unless `keep`. Raises CommandError."""
    path = folder / OPENVINO_FILE
    quantized, report = quantize(core().read_model(path), photos, min_agreement)
    if not keep:
        rename_nodes(quantized)
        # The old file is mapped into memory, and f32 weights that stay are read from it while the new one is written.
        partial = path.with_stem("quantized")
        openvino.save_model(quantized, partial, compress_to_fp16=False)
        for suffix in (".bin", ".xml"):
            partial.with_suffix(suffix).replace(path.with_suffix(suffix))
    return report


def quantize(graph: Any, photos: Photos, min_agreement: float) -> tuple[Any, QuantizationReport]:
    """Quantize an exported openvino.Model; as many layers stay in higher precision as `min_agreement` needs.

    Thin layers always do, then the most sensitive one, two, four and so on, up to half of them. `min_agreement` is the
    share of comparison photos, 0 to 1, whose first class must be that of f32; with 0 every layer that is not thin
    becomes int8. Raises CommandError if the share is not reached. The photos of the comparison take part in no ranking:
    the bar is held against them a few times, and they stay fair.
    """
    exact, thin = probabilities(graph, photos.comparison, "f32"), thin_layers(graph)

    def without(sensitive: Sequence[str]) -> tuple[Agreement, int, Any]:
        ignored = [*thin, *sensitive]
        made = _quantize_layers(graph, photos.calibration, ignored)
        return compare(probabilities(made, photos.comparison, "native"), exact), len(ignored), made

    best = without([])
    if best[0].top_1 < min_agreement:
        ranked = most_sensitive_first(graph, best[2], photos.calibration[:RANKING_PHOTOS])
        for power in range((len(ranked) // 2).bit_length()):
            best = max(best, without(ranked[: 2**power]), key=lambda one: one[0].top_1)
            if best[0].top_1 >= min_agreement:
                break
    found, kept, quantized = best
    layers = len(quantized_layers(quantized)) + kept
    if found.top_1 < min_agreement:
        raise CommandError(
            f"int8 gives {found.top_1:.1%} of {found.photos} photos the first class that f32 gives them "
            f"({found.top_5_sets:.1%} the same first five, and a probability changes by up to "
            f"{found.largest_change:.2f}) at best, with {kept} of {layers} layers in higher precision, and "
            f"--min-agreement asks for {min_agreement:.1%}: calibrate on more photos like those that are asked about, "
            "lower --min-agreement, or build without int8."
        )
    measured = measure(graph, quantized, photos.comparison)
    return quantized, QuantizationReport(photos.source, layers, kept, measured)


def _quantize_layers(graph: Any, photos: NDArray[np.uint8], ignored: Sequence[str]) -> Any:
    """Quantize all layers but those named in `ignored`; the graph itself stays as it is.

    NNCF's progress bars are kept out of standard output, which belongs to a command's results.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        import nncf

        nncf.set_log_level(logging.ERROR)
        return nncf.quantize(
            graph.clone(),
            nncf.Dataset([photo[None] for photo in photos]),
            preset=nncf.QuantizationPreset.PERFORMANCE,
            subset_size=len(photos),
            ignored_scope=nncf.IgnoredScope(names=list(ignored)) if ignored else None,
        )


def quantized_layers(quantized: Any) -> list[str]:
    """Names of the layers of an openvino.Model that compute in int8, in the order of the graph."""
    layers = (node for node in quantized.get_ordered_ops() if node.get_type_name() in LAYERS)
    # Weights in int8 are a constant and its scale, and others a plain constant.
    return [node.get_friendly_name() for node in layers if node.input_value(1).get_node().get_type_name() != "Constant"]


def thin_layers(graph: Any) -> list[str]:
    """Names of the convolutions of an exported openvino.Model that cannot fill an int8 instruction with channels.

    These are the first one, which sees three colors, and all depthwise ones, which see one channel each. They gain
    little in int8 and do much of its harm (docs/int8.md).
    """
    convolutions = (node for node in graph.get_ordered_ops() if node.get_type_name() in LAYERS[:2])
    # The weights are (outputs, inputs, height, width), with the number of groups in front if there are several.
    return [node.get_friendly_name() for node in convolutions if node.input_value(1).get_shape()[-3] < CHANNELS_AT_ONCE]


def most_sensitive_first(graph: Any, quantized: Any, photos: NDArray[np.uint8]) -> list[str]:
    """Order the int8 layers of `quantized` by the harm each does alone in the f32 `graph` it was made of.

    The harm is the mean Kullback-Leibler divergence of the answers, in f32 and with that layer in int8, to `photos`
    (n, side, side, 3). The share of photos that get another first class would be too coarse a measure: one layer
    changes few of them.
    """
    exact = probabilities(graph, photos, "f32")

    def harm(name: str) -> float:
        answers = probabilities(_with_one_quantized(graph, quantized, name), photos, "f32")
        return float((exact * np.log(exact / answers)).sum(axis=1).mean())

    return sorted(quantized_layers(quantized), key=harm, reverse=True)


def _with_one_quantized(graph: Any, quantized: Any, name: str) -> Any:
    """Copy `graph`, with the layer `name` rounded as in `quantized`."""
    from openvino import opset13

    copied = graph.clone()
    layer, rounded = ({node.get_friendly_name(): node for node in one.get_ops()}[name] for one in (copied, quantized))
    quantizer = rounded.input_value(0).get_node()
    if quantizer.get_type_name() == "FakeQuantize":  # otherwise an earlier layer's rounding serves this one as well
        limits = [opset13.constant(_value(quantizer.input_value(index))) for index in range(1, 5)]
        activations = opset13.fake_quantize(layer.input_value(0), *limits, quantizer.get_attributes()["levels"])
        layer.input(0).replace_source_output(activations.output(0))
    layer.input(1).replace_source_output(opset13.constant(_value(rounded.input_value(1))).output(0))
    return copied


def _value(output: Any) -> NDArray[np.float32]:
    """Compute what depends on constants alone, such as weights that are stored as int8 and a scale."""
    value: NDArray[np.float32] = core().compile_model(openvino.Model([output], []), "CPU")([])[0]
    return value.copy()
