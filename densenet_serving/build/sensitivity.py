"""Which layers int8 harms most, and which it does not make faster."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from densenet_serving.build.inference import logits
from handler.engines.openvino import core, openvino
from handler.labels import softmax

# What OpenVINO computes in int8; everything else follows its neighbors.
LAYERS = ("Convolution", "GroupConvolution", "MatMul")
# An instruction for int8 (VNNI's vpdpbusd, Arm's sdot) multiplies and adds so many neighboring channels at once.
CHANNELS_AT_ONCE = 4


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
    exact = softmax(logits(graph, photos, "f32"))

    def harm(name: str) -> float:
        answers = softmax(logits(_with_one_quantized(graph, quantized, name), photos, "f32"))
        return float((exact * np.log(exact / answers)).sum(axis=1).mean())

    harms = {name: harm(name) for name in quantized_layers(quantized)}
    return sorted(harms, key=lambda name: -harms[name])


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
