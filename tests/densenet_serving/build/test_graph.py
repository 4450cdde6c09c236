from __future__ import annotations

import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from densenet_serving.build.checkpoint import load_network
from densenet_serving.build.graph import ServingModel, calibrated, export
from densenet_serving.build.networks import ARCHITECTURES, Architecture
from densenet_serving.build.weights import find
from densenet_serving.options import STAND_IN
from handler.cores import Threads
from handler.engines import MAX_BATCH, Engine
from handler.engines.openvino import OPENVINO_FILE, OpenVinoEngine
from handler.engines.torch import TORCH_FILE, TorchEngine
from handler.settings import Settings
from tests.pictures import noise

SIDE = 32
TEMPERATURE = 0.3
SPEC = ARCHITECTURES["densenet121"].preprocessing


def tiny_model() -> ServingModel:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.BatchNorm2d(8), nn.Dropout(0.9), nn.ReLU())
    return ServingModel(backbone, nn.Linear(8, 5), SPEC)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the tiny model, whose logits are divided by TEMPERATURE."""
    exported = tmp_path_factory.mktemp("exported")
    model = tiny_model()
    export(ServingModel(model.backbone, calibrated(model.head, TEMPERATURE), SPEC), SIDE, exported)
    return exported


@pytest.fixture(scope="module")
def engines(folder: Path) -> list[Engine]:
    return [
        OpenVinoEngine(folder, Settings(precision="f32"), Threads(1, 1)),
        TorchEngine(folder, Settings(), Threads(torch.get_num_threads(), 1)),
    ]


@pytest.mark.parametrize("rows", [1, 2, 7, MAX_BATCH])
def test_both_files_say_what_the_model_says_for_any_batch(engines: list[Engine], rows: int) -> None:
    batch = np.random.default_rng(rows).integers(0, 256, (rows, SIDE, SIDE, 3), np.uint8)
    with torch.inference_mode():
        expected, _ = tiny_model().eval()(torch.from_numpy(batch))
    for engine in engines:
        np.testing.assert_allclose(engine.infer(batch)[0], expected / TEMPERATURE, atol=1e-4)


def test_the_second_output_is_the_feature_map(folder: Path) -> None:
    pixels = torch.zeros((1, SIDE, SIDE, 3), dtype=torch.uint8)
    outputs: tuple[Tensor, Tensor] = torch.export.load(folder / TORCH_FILE).module()(pixels)
    assert [tuple(output.shape) for output in outputs] == [(1, 5), (1, 8, 8, 8)]


def test_the_feature_map_explains_the_logits() -> None:
    """Class weights times the map, averaged over it, are the logits: that is what shows where a class was seen."""
    stand_in = ARCHITECTURES[STAND_IN]
    backbone, head = load_network(find("auto", architecture=stand_in).path, stand_in)
    with torch.inference_mode():
        pixels = torch.tensor(np.asarray(noise(224, 224)))[None]
        logits, features = ServingModel(backbone, head, stand_in.preprocessing)(pixels)
        maps = torch.einsum("kc,nchw->nkhw", head.weight, features)
    assert features.shape == (1, 1280, 7, 7)
    torch.testing.assert_close(maps.mean((2, 3)) + head.bias, logits, atol=1e-3, rtol=0)


def test_two_archives_of_one_input_are_equal(folder: Path) -> None:
    """No file of this machine is named, and no counter of this process."""
    with zipfile.ZipFile(folder / TORCH_FILE) as file:
        assert [name for name in file.namelist() if b".py" in file.read(name)] == []
    names = [layer.attrib["name"] for layer in ElementTree.parse(folder / OPENVINO_FILE).iter("layer")]  # noqa: S314
    assert names[0] == "Parameter_0"
    assert {int(name.rpartition("_")[2]) for name in names} == set(range(len(names)))


@pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_every_level_is_normalized(architecture: Architecture) -> None:
    spec = architecture.preprocessing
    levels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1).expand(1, 16, 16, 3)
    normalized = ServingModel(nn.Identity(), nn.Linear(1, 1), spec).normalize(levels)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (spec.mean, spec.std))
    expected = (levels.permute(0, 3, 1, 2) / 255 - mean) / std
    torch.testing.assert_close(normalized, expected, atol=1e-5, rtol=0)
