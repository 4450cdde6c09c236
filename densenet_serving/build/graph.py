"""The graph that a worker runs, pixels -> features -> head -> logits, and its export."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.nn import functional

from densenet_serving.options import Activation
from handler.card import Preprocessing, Task
from handler.engines import MAX_BATCH
from handler.engines.openvino import OPENVINO_FILE, openvino
from handler.engines.torch import TORCH_FILE
from handler.explanations import HEAD_FILE

StateDict = dict[str, Tensor]


class ServingModel(nn.Module):
    """The graph from pixels to logits, with normalization in it.

    The input is uint8 NHWC (N, side, side, 3). The outputs are the logits (N, classes) and the last feature map
    (N, channels, side / 32, side / 32), both float32. Every architecture ends in global average pooling and one linear
    layer, so the weights of a class times that map show where the class was seen. HiddenLayers have no such weights.
    """

    def __init__(self, backbone: nn.Module, head: nn.Linear, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        std = torch.tensor(preprocessing.std)
        self.scale: Tensor
        self.shift: Tensor
        self.register_buffer("scale", (1 / (255 * std)).view(1, 3, 1, 1))
        self.register_buffer("shift", (torch.tensor(preprocessing.mean) / std).view(1, 3, 1, 1))

    def normalize(self, images: Tensor) -> Tensor:
        """Turn uint8 NHWC into float32 NCHW, as torchvision's ToTensor and Normalize do."""
        return images.permute(0, 3, 1, 2).float() * self.scale - self.shift

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.backbone(self.normalize(images))
        pooled = functional.adaptive_avg_pool2d(features, 1).flatten(1)
        logits: Tensor = self.head(pooled)
        return logits, features


class HiddenLayers(nn.Linear):
    """The final linear layer with others before it, and `activation` between them.

    Its state_dict holds the final layer as `weight` and `bias`, and the others as `hidden.0.weight` and so on.
    """

    def __init__(self, widths: list[int]) -> None:
        """Take the width of each layer's input, in order, and last the number of classes."""
        super().__init__(widths[-2], widths[-1])
        self.hidden = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths[:-1]))
        self.activation: Activation = "relu"

    def forward(self, pooled: Tensor) -> Tensor:
        activate = getattr(functional, self.activation)
        for layer in self.hidden:
            pooled = activate(layer(pooled))
        return super().forward(pooled)


def head_for(weights: StateDict, classifier_key: str, channels: int) -> nn.Linear:
    """Make the head of a network with this many channels; its parameters, in `weights`, are still to be loaded."""
    name = classifier_key.removesuffix("weight")
    classes = len(weights[classifier_key])
    hidden = [value for key, value in weights.items() if key.startswith(f"{name}hidden.") and key.endswith(".weight")]
    if hidden:
        return HiddenLayers([channels, *map(len, hidden), classes])
    return nn.Linear(channels, classes, bias=f"{name}bias" in weights)


def rename_layers(weights: StateDict, classifier_key: str) -> StateDict:
    """Rename the layers of a Sequential head to those of HiddenLayers; the last becomes the final layer.

    Layers without parameters, such as Dropout, leave no trace in a checkpoint. Raises ValueError if a layer is not
    linear, or the layers do not follow each other.
    """
    name = classifier_key.removesuffix(".weight")
    head = {key: value for key, value in weights.items() if key.startswith(f"{name}.")}
    layers = list(dict.fromkeys(key.rpartition(".")[0] for key in head))
    if layers in ([], [name]):
        return weights
    matrices = [head.get(f"{layer}.weight", torch.empty(0)) for layer in layers]
    parameters = {key.rpartition(".")[2] for key in head}
    if not parameters <= {"weight", "bias"} or any(matrix.ndim != 2 for matrix in matrices):
        raise ValueError(f"its head may have linear layers only, and it has {', '.join(head)}")
    if any(len(before) != after.shape[1] for before, after in pairwise(matrices)):
        raise ValueError(f"the layers of its head do not fit each other: {', '.join(head)}")
    new_names = {layer: f"{name}.hidden.{i}" for i, layer in enumerate(layers)} | {layers[-1]: name}
    renamed = {key: f"{new_names[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}" for key in head}
    return {renamed.get(key, key): value for key, value in weights.items()}


def calibrated(head: nn.Linear, temperature: float) -> nn.Linear:
    """Return a copy of `head` whose logits are divided by `temperature`, which must be positive.

    This is temperature scaling (Guo et al. 2017, https://arxiv.org/abs/1706.04599) inside the graph: the order of the
    classes stays, and a softmax gives calibrated probabilities with every engine.
    """
    return _changed(head, lambda parameter: parameter / temperature)


def as_two(head: nn.Linear, task: Task) -> nn.Linear:
    """Return a copy of a head of one output with two: the first for what the output denies.

    Both tasks keep the meaning of the output z: softmax(-z/2, z/2) and sigmoid(-z), sigmoid(z) are 1 - p and p.
    """
    share = 0.5 if task == "single-label" else 1.0
    return _changed(head, lambda parameter: torch.cat((-share * parameter, share * parameter)))


def _changed(head: nn.Linear, change: Callable[[Tensor], Tensor]) -> nn.Linear:
    copied = copy.deepcopy(head)
    for name, parameter in list(copied.named_parameters(recurse=False)):
        setattr(copied, name, nn.Parameter(change(parameter.detach())))
    copied.out_features = len(copied.weight)
    return copied


def export(model: ServingModel, side: int, folder: Path) -> None:
    """Write model.pt2, model.xml, model.bin and, for a head of one linear layer, head.npy into `folder`.

    The graph takes 1 to MAX_BATCH images.

    This turns off the model's training mode and its gradients: exporting takes longer with them.
    The OpenVINO graph keeps float32 weights: `precision: f32` must be exact, and bf16 is chosen at run time.
    The files depend only on the weights and the versions of torch and openvino, not on when or where they are made.
    """
    example = torch.zeros((2, side, side, 3), dtype=torch.uint8)
    shapes = {"images": {0: Dim("batch", min=1, max=MAX_BATCH)}}
    with warnings.catch_warnings():
        # torch.export uses functions that torch deprecates; nothing here can change that.
        warnings.simplefilter("ignore", FutureWarning)
        program = torch.export.export(model.eval().requires_grad_(False), (example,), dynamic_shapes=shapes)
        forget_sources(program)
        torch.export.save(program, folder / TORCH_FILE)
        graph = openvino.convert_model(program)
    rename_nodes(graph)
    if not isinstance(model.head, HiddenLayers):
        np.save(folder / HEAD_FILE, model.head.weight.detach().numpy())
    openvino.save_model(graph, folder / OPENVINO_FILE, compress_to_fp16=False)


def forget_sources(program: torch.export.ExportedProgram) -> None:
    """Drop the lines of Python that each node came from: their files lie elsewhere on another machine."""
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)


def rename_nodes(graph: Any) -> None:
    """Name an openvino.Model's nodes by kind and place.

    OpenVINO numbers them by a counter of the process, and a second export would differ from the first.
    """
    graph.set_friendly_name("model")
    for index, node in enumerate(graph.get_ordered_ops()):
        node.set_friendly_name(f"{node.get_type_name()}_{index}")
