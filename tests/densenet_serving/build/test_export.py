from __future__ import annotations

import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from densenet_serving.build.export import export
from densenet_serving.build.networks import ARCHITECTURES, ServingModel, calibrated
from handler.cores import Threads
from handler.engines import MAX_BATCH, Engine
from handler.engines.openvino import OPENVINO_FILE, OpenVinoEngine
from handler.engines.torch import TORCH_FILE, TorchEngine
from handler.labels import softmax
from handler.settings import Settings

SIDE = 32
SPEC = ARCHITECTURES["densenet121"].preprocessing


def tiny_model() -> ServingModel:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.BatchNorm2d(8), nn.Dropout(0.9), nn.ReLU())
    return ServingModel(backbone, nn.Linear(8, 5), SPEC)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    exported = tmp_path_factory.mktemp("exported")
    export(tiny_model(), SIDE, exported)
    return exported


@pytest.mark.parametrize("rows", [1, 2, 7, MAX_BATCH])
def test_both_files_say_what_the_model_says_for_any_batch(folder: Path, rows: int) -> None:
    batch = np.random.default_rng(rows).integers(0, 256, (rows, SIDE, SIDE, 3), np.uint8)
    with torch.inference_mode():
        expected, _ = tiny_model().eval()(torch.from_numpy(batch))
    engines: list[Engine] = [
        OpenVinoEngine(folder, Settings(precision="f32"), Threads(1, 1)),
        TorchEngine(folder, Settings(), Threads(torch.get_num_threads(), 1)),
    ]
    for engine in engines:
        np.testing.assert_allclose(engine.infer(batch)[0], expected, atol=1e-4)


@pytest.mark.parametrize("temperature", [0.3, 1.7])
def test_probabilities_are_calibrated_in_every_engine(tmp_path: Path, temperature: float) -> None:
    eager = tiny_model().eval()
    export(ServingModel(eager.backbone, calibrated(eager.head, temperature), SPEC), SIDE, tmp_path)
    batch = np.random.default_rng(3).integers(0, 256, (4, SIDE, SIDE, 3), np.uint8)
    with torch.inference_mode():
        logits, _ = eager(torch.from_numpy(batch))
    expected = torch.softmax(logits / temperature, 1).numpy()
    engines: list[Engine] = [
        OpenVinoEngine(tmp_path, Settings(precision="f32"), Threads(1, 1)),
        TorchEngine(tmp_path, Settings(), Threads(torch.get_num_threads(), 1)),
    ]
    for engine in engines:
        np.testing.assert_allclose(softmax(engine.infer(batch)[0]), expected, atol=1e-5)
    assert np.abs(torch.softmax(logits, 1).numpy() - expected).max() > 0.01


def test_the_second_output_is_the_feature_map(folder: Path) -> None:
    pixels = torch.zeros((1, SIDE, SIDE, 3), dtype=torch.uint8)
    outputs: tuple[Tensor, Tensor] = torch.export.load(folder / TORCH_FILE).module()(pixels)
    assert [tuple(output.shape) for output in outputs] == [(1, 5), (1, 8, 8, 8)]


def test_no_file_of_this_machine_is_named(folder: Path) -> None:
    """Two archives of one input are equal to the byte, also where the code lies in another folder."""
    with zipfile.ZipFile(folder / TORCH_FILE) as file:
        assert [name for name in file.namelist() if b".py" in file.read(name)] == []


def test_node_names_do_not_count_the_process(folder: Path) -> None:
    """Two archives of one input are equal to the byte, also where one process builds both."""
    names = [layer.attrib["name"] for layer in ElementTree.parse(folder / OPENVINO_FILE).iter("layer")]  # noqa: S314
    assert names[0] == "Parameter_0"
    assert {int(name.rpartition("_")[2]) for name in names} == set(range(len(names)))
