from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

from densenet_serving.build import inference
from densenet_serving.build.export import export
from densenet_serving.build.networks import ARCHITECTURES, ServingModel
from densenet_serving.build.precisions import has_bf16, measure, table
from handler.engines.openvino import OPENVINO_FILE, core

SIDE = 32


def test_each_precision_is_compared_with_f32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "SECONDS", 0.01)
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.ReLU())
    spec = ARCHITECTURES["densenet121"].preprocessing
    export(ServingModel(backbone, nn.Linear(8, 5), spec), SIDE, tmp_path)
    graph = core().read_model(tmp_path / OPENVINO_FILE)
    photos = np.random.default_rng(0).integers(0, 256, (6, SIDE, SIDE, 3), np.uint8)

    measured = measure(graph, graph, photos, {})

    assert [one.precision for one in measured] == ["f32", *(["bf16"] if has_bf16() else []), "int8"]
    assert all(one.images_per_second > 0 and one.agreement.photos == 6 for one in measured)
    assert measured[0].agreement.largest_change == 0
    # The same graph stands in for the int8 one, and computes in the processor's own precision.
    assert measured[-1].agreement.largest_change == measured[-2].agreement.largest_change
    console = Console(width=200)
    with console.capture() as captured:
        console.print(table(measured))
    assert "100.0%" in captured.get()
