"""Export a network to the files that a worker loads: one graph, for PyTorch and for OpenVINO, and the head."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import Dim

from densenet_serving.build.heads import HiddenLayers
from densenet_serving.build.networks import ServingModel
from handler.engines import MAX_BATCH
from handler.engines.openvino import OPENVINO_FILE
from handler.engines.torch import TORCH_FILE
from handler.explanations import HEAD_FILE


def export(model: ServingModel, side: int, folder: Path) -> None:
    """Write model.pt2, model.xml, model.bin and, for a head of one linear layer, head.npy into `folder`.

    The graph takes 1 to MAX_BATCH images.

    This turns off the model's training mode and its gradients: exporting takes longer with them.
    The OpenVINO graph keeps float32 weights: `precision: f32` must be exact, and bf16 is chosen at run time.
    The files depend only on the weights and the versions of torch and openvino, not on when or where they are made.
    """
    from handler.engines.openvino import openvino

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
