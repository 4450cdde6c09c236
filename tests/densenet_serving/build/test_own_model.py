"""A model of one's own, from a checkpoint as people write it to the answers of a worker."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from densenet_serving.build import precision
from densenet_serving.build.build import ModelSpec, build_model
from densenet_serving.build.vision import torchvision
from densenet_serving.errors import CommandError
from handler.card import Task
from handler.labels import softmax
from tests.conftest import unpack
from tests.pictures import encode, noise
from tests.worker import load_worker

FLOWERS = ["daisy", "dandelion", "rose", "sunflower", "tulip"]
SIDE, MEAN, STD = 64, (0.5, 0.4, 0.3), (0.3, 0.4, 0.5)
PHOTO = noise(SIDE, SIDE)


def normalized(photo: Image.Image) -> torch.Tensor:
    tensor = torch.tensor(np.asarray(photo)).permute(2, 0, 1)[None] / 255
    return torch.as_tensor(torchvision.transforms.functional.normalize(tensor, MEAN, STD))


@pytest.fixture
def network(small_densenet: None) -> Any:
    torch.manual_seed(0)
    return torchvision.models.densenet121()


def spec_of(network: nn.Module, folder: Path, names: list[str], **given: Any) -> ModelSpec:
    """Save a network as Lightning does, and its labels."""
    state = {f"model.{key}": value for key, value in network.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, folder / "own.ckpt")
    (folder / "labels.txt").write_text("\n".join(names))
    return ModelSpec("my.own_1-a", weights=str(folder / "own.ckpt"), labels=folder / "labels.txt", **given)


def answered(spec: ModelSpec, folder: Path, **parameters: bytes) -> dict[str, Any]:
    """What a worker answers to PHOTO, with the classes' probabilities by their names."""
    spec = replace(spec, precision="f32", resize=SIDE, crop=SIDE, mean=MEAN, std=STD)
    ask = load_worker(unpack(build_model(spec, folder / "store"), folder / "unpacked"))
    answer: dict[str, Any] = ask({"body": encode(PHOTO, "PNG"), "top_k": b"10"} | parameters)
    return answer | {one["class_name"]: one["probability"] for one in answer["predictions"]}


def test_it_answers_as_the_network_that_was_trained(network: Any, tmp_path: Path) -> None:
    hidden = nn.Linear(network.classifier.in_features, 32)
    network.classifier = nn.Sequential(hidden, nn.GELU(), nn.Dropout(0.5), nn.Linear(32, 5))
    answer = answered(spec_of(network, tmp_path, FLOWERS, activation="gelu"), tmp_path)
    with torch.inference_mode():
        expected = softmax(network.eval()(normalized(PHOTO)).numpy())[0]
    np.testing.assert_allclose([answer[name] for name in FLOWERS], expected, atol=1e-4)
    assert answer["recognized"] is False


@pytest.mark.parametrize(("task", "names"), [("single-label", 2), ("multi-label", 2), ("multi-label", 1)])
def test_one_output_answers_as_its_sigmoid(network: Any, task: Task, names: int, tmp_path: Path) -> None:
    network.classifier = nn.Linear(network.classifier.in_features, 1)
    answer = answered(
        spec_of(network, tmp_path, ["healthy", "ill"][-names:], task=task), tmp_path, min_probability=b"0"
    )
    with torch.inference_mode():
        ill = float(network.eval()(normalized(PHOTO)).sigmoid())
    expected = {"healthy": 1 - ill, "ill": ill} if names == 2 else {"ill": ill}
    assert {name: answer[name] for name in expected} == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("outputs", "given", "named"),
    [
        (1, {"task": "multi-label", "precision": "int8"}, "int8 .*multi-label"),
        (None, {}, "own.ckpt gives answers that are NaN or infinite to coffee.jpg"),
    ],
)
def test_what_cannot_be_served(
    network: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    outputs: int | None,
    given: dict[str, Any],
    named: str,
) -> None:
    monkeypatch.setattr(precision, "find_spec", lambda _: True)
    network.classifier = nn.Linear(network.classifier.in_features, outputs or 1)
    if outputs is None:  # finite weights whose answers are not
        network.features.norm0.running_var.fill_(-1)
        given = {"task": "multi-label"}
    with pytest.raises(CommandError, match=named):
        build_model(spec_of(network, tmp_path, ["ill"], **given), tmp_path / "store")


def test_what_the_summary_says(network: Any, quick: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network.classifier = nn.Linear(network.classifier.in_features, 2)
    spec = spec_of(network, tmp_path, ["a", "b"])
    torch.save({name: network.state_dict() for name in ("state_dict", "model_ema")}, spec.weights)
    build_model(spec, tmp_path / "store")
    said = capsys.readouterr().err
    for fact in (
        "state_dict is taken, and --weights-key model_ema",
        "single-label: a photo gets one of 2 classes",
        "--task multi-label",
        "--resize 255 --crop 224 --interpolation bilinear --mean 0.485 0.456 0.406 --std 0.229 0.224 0.225",
    ):
        assert fact in said
    build_model(replace(spec, task="multi-label", weights_key="model_ema"), tmp_path / "store")
    said = capsys.readouterr().err
    assert "model_ema is taken, and --weights-key state_dict" in said
    assert "multi-label: a photo gets every class" in said
    assert "--task single-label" not in said
