from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from densenet_serving.build import comparison, quantize
from densenet_serving.build.calibration import Photos
from densenet_serving.build.comparison import compare, has_bf16
from densenet_serving.build.graph import ServingModel, export
from densenet_serving.build.networks import ARCHITECTURES
from densenet_serving.build.quantize import most_sensitive_first, quantized_layers, thin_layers
from densenet_serving.errors import CommandError
from handler.cores import Threads
from handler.engines.openvino import OPENVINO_FILE, OpenVinoEngine, core
from handler.settings import Settings

needs_nncf = pytest.mark.skipif(find_spec("nncf") is None, reason="NNCF is not installed: pip install -e '.[int8]'.")

SIDE = 32
SPEC = ARCHITECTURES["densenet121"].preprocessing


def plain_images(count: int, seed: int) -> NDArray[np.uint8]:
    """Images of one color each and some grain, so that the answers differ."""
    rng = np.random.default_rng(seed)
    colors = rng.integers(30, 225, (count, 1, 1, 3))
    return (colors + rng.integers(-30, 30, (count, SIDE, SIDE, 3))).astype(np.uint8)


PHOTOS = Photos(plain_images(40, seed=1), plain_images(60, seed=2), "plain images")


def export_tiny(folder: Path, outlier: float = 1.0) -> Any:
    """Export four layers and a head; one channel in front of the second is `outlier` times as large as the others.

    The second layer undoes that in its weights: int8 has one step for all channels, so that the others drown in it.
    """
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, stride=2), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 16, 3)]
    with torch.no_grad():
        layers[0].weight[0] *= outlier
        layers[0].get_parameter("bias")[0] *= outlier
        layers[1].weight[:, 0] /= outlier
    backbone = nn.Sequential(*(part for layer in layers for part in (layer, nn.ReLU())))
    head = nn.Linear(16, 5)
    with torch.no_grad():
        head.weight *= 50
    export(ServingModel(backbone, head, SPEC), SIDE, folder)
    return core().read_model(folder / OPENVINO_FILE)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny network. Copy it to change it."""
    folder = tmp_path_factory.mktemp("tiny")
    export_tiny(folder)
    return folder


@pytest.fixture(scope="module")
def graph(exported: Path) -> Any:
    return core().read_model(exported / OPENVINO_FILE)


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "SECONDS", 0.01)


@needs_nncf
def test_int8_answers_like_f32_or_is_refused_with_the_figures(graph: Any) -> None:
    quantized, report = quantize.quantize(graph, PHOTOS, min_agreement=0)
    assert (report.calibrated_on, report.layers, report.kept) == ("plain images", 5, 1)
    assert len(quantized_layers(quantized)) == 4
    assert quantized_layers(graph) == []
    precisions = ["f32", "bf16", "int8"] if has_bf16() else ["f32", "int8"]
    assert [one.precision for one in report.measured] == precisions
    exact, int8 = report.measured[0].agreement, report.measured[-1].agreement
    assert exact.top_1 == exact.top_5_sets == 1
    assert int8.photos == 60
    assert 0.8 < int8.top_1 <= 1
    assert all(one.images_per_second > 0 for one in report.measured)
    with pytest.raises(CommandError, match=r"\d% of 60 photos .* of 5 layers .*--min-agreement .* 101\.0%"):
        quantize.quantize(graph, PHOTOS, 1.01)


@needs_nncf
def test_the_layer_that_int8_harms_stays_in_higher_precision(tmp_path: Path) -> None:
    graph = export_tiny(tmp_path, outlier=1000)
    every, plain = quantize.quantize(graph, PHOTOS, min_agreement=0)
    names = quantized_layers(every)
    harmed = names[0]  # the second layer: the first stays out anyway
    assert most_sensitive_first(graph, every, PHOTOS.calibration)[0] == harmed
    bar = plain.measured[-1].agreement.top_1 + 0.05
    quantized, report = quantize.quantize(graph, PHOTOS, bar)
    assert report.kept in (2, 3)
    assert harmed not in quantized_layers(quantized)
    assert report.measured[-1].agreement.top_1 >= bar


def test_layers_of_few_channels_are_thin(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 16, 1), nn.Conv2d(16, 16, 3, groups=4)]
    export(ServingModel(nn.Sequential(*layers), nn.Linear(16, 5), SPEC), SIDE, tmp_path)
    graph = core().read_model(tmp_path / OPENVINO_FILE)
    convolutions = [node for node in graph.get_ordered_ops() if node.get_type_name().endswith("Convolution")]
    assert thin_layers(graph) == [node.get_friendly_name() for node in convolutions[:2]]


@needs_nncf
def test_the_engine_serves_the_quantized_folder_and_equal_input_gives_equal_files(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, again = (Path(shutil.copytree(exported, tmp_path / name)) for name in ("first", "second"))
    settings, threads = Settings(), Threads(1, 1)
    before, _ = OpenVinoEngine(folder, settings, threads).infer(PHOTOS.comparison)
    for one in (folder, again):
        quantize.quantize_folder(one, PHOTOS, 0)
    after, _ = OpenVinoEngine(folder, settings, threads).infer(PHOTOS.comparison)
    assert compare(after.astype(np.float64), before.astype(np.float64)).top_1 > 0.8
    assert not np.array_equal(after, before)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {
        file.name: file.read_bytes() for file in again.iterdir()
    }
    assert sorted(file.name for file in folder.iterdir()) == sorted(file.name for file in exported.iterdir())
    assert capsys.readouterr().out == ""


@needs_nncf
def test_nncf_reports_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its module is run anew without pytest in sight, for which it would turn its telemetry off by itself."""
    found = find_spec("nncf.telemetry.wrapper")
    assert found
    assert found.loader
    wrapper = module_from_spec(found)
    monkeypatch.delitem(sys.modules, "pytest")
    found.loader.exec_module(wrapper)
    assert isinstance(wrapper.telemetry, wrapper.NNCFTelemetryStub)
