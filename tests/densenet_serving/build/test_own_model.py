"""A model of one's own, from a checkpoint as people write it to the answers of a worker."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from densenet_serving.build import build
from densenet_serving.build.build import build_model
from densenet_serving.build.spec import ModelSpec
from densenet_serving.build.vision import torchvision
from densenet_serving.errors import CommandError
from handler.card import Task
from handler.labels import softmax
from tests.conftest import unpack
from tests.pictures import encode, noise
from tests.worker import load_worker

FLOWERS = ["daisy", "dandelion", "rose", "sunflower", "tulip"]
SIDE, MEAN, STD = 64, (0.5, 0.4, 0.3), (0.3, 0.4, 0.5)


def normalized(pixels: np.ndarray) -> torch.Tensor:
    tensor = torch.tensor(pixels).permute(2, 0, 1)[None] / 255
    return torch.as_tensor(torchvision.transforms.functional.normalize(tensor, MEAN, STD))


@pytest.mark.usefixtures("small_densenet")
@pytest.mark.parametrize("hidden", [True, False])
def test_it_answers_as_the_network_that_was_trained(hidden: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = torchvision.models.densenet121()
    channels = network.classifier.in_features
    mlp = (nn.Linear(channels, 32), nn.GELU(), nn.Dropout(0.5), nn.Linear(32, 5))
    network.classifier = nn.Sequential(*mlp) if hidden else nn.Sequential(nn.Dropout(0.5), nn.Linear(channels, 5))
    network.eval()
    state = {f"model.{key}": value for key, value in network.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "flowers.ckpt")
    (tmp_path / "flowers.txt").write_text("\n".join(FLOWERS))
    spec = ModelSpec(
        "my.flowers_1-a",
        weights=str(tmp_path / "flowers.ckpt"),
        labels=tmp_path / "flowers.txt",
        precision="f32",
        activation="gelu",
        preprocessing={"resize": SIDE, "crop": SIDE, "mean": MEAN, "std": STD},
    )
    path = build_model(spec, tmp_path / "store")
    ask = load_worker(unpack(path, tmp_path / "unpacked"))

    photo = noise(SIDE, SIDE)
    answer = ask({"body": encode(photo, "PNG"), "top_k": b"10"})
    with torch.inference_mode():
        expected = softmax(network(normalized(np.asarray(photo))).numpy())[0]
    found = {prediction["class_name"]: prediction["probability"] for prediction in answer["predictions"]}
    assert sorted(found) == FLOWERS
    np.testing.assert_allclose([found[name] for name in FLOWERS], expected, atol=1e-4)
    assert answer["recognized"] == (expected.max() >= 0.36)
    assert answer["recognized"] is False


@pytest.mark.usefixtures("small_densenet")
@pytest.mark.parametrize(("task", "names"), [("single-label", 2), ("multi-label", 1), ("multi-label", 2)])
def test_one_output_answers_as_its_sigmoid(task: Task, names: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = torchvision.models.densenet121(num_classes=1).eval()
    torch.save(network.state_dict(), tmp_path / "own.pth")
    (tmp_path / "labels.txt").write_text("\n".join(("healthy", "ill")[-names:]))
    preprocessing = {"resize": SIDE, "crop": SIDE, "mean": MEAN, "std": STD}
    spec = ModelSpec(
        "ill",
        weights=str(tmp_path / "own.pth"),
        labels=tmp_path / "labels.txt",
        precision="f32",
        task=task,
        preprocessing=preprocessing,
    )
    ask = load_worker(unpack(build_model(spec, tmp_path / "store"), tmp_path / "unpacked"))

    photo = noise(SIDE, SIDE)
    answer = ask({"body": encode(photo, "PNG"), "top_k": b"2", "min_probability": b"0"})
    with torch.inference_mode():
        ill = float(network(normalized(np.asarray(photo))).sigmoid())
    found = {prediction["class_name"]: prediction["probability"] for prediction in answer["predictions"]}
    assert found == pytest.approx({"healthy": 1 - ill, "ill": ill} if names == 2 else {"ill": ill}, abs=1e-4)


@pytest.mark.usefixtures("small_densenet")
@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"task": "single-label"}, "names 1 classes and the checkpoint tells 2 apart with its one output"),
        ({}, "has one output, and what it means is not in the file"),
        ({"task": "multi-label", "precision": "int8"}, "int8 is judged by each photo's first class"),
    ],
)
def test_one_output_that_cannot_be_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], why: str
) -> None:
    monkeypatch.setattr(build, "step_of", lambda precision, *_: (lambda *_: None) if precision else None)
    torch.save(torchvision.models.densenet121(num_classes=1).state_dict(), tmp_path / "own.pth")
    (tmp_path / "labels.txt").write_text("ill")
    spec = ModelSpec("ill", weights=str(tmp_path / "own.pth"), labels=tmp_path / "labels.txt", **given)
    with pytest.raises(CommandError, match=why):
        build_model(spec, tmp_path / "store")


@pytest.mark.usefixtures("small_densenet", "quick")
def test_finite_weights_whose_answers_are_not(tmp_path: Path) -> None:
    network = torchvision.models.densenet121(num_classes=2)
    network.features.norm0.running_var.fill_(-1)
    torch.save(network.state_dict(), tmp_path / "own.pth")
    with pytest.raises(CommandError, match=r"own.pth gives answers that are NaN or infinite to coffee.jpg"):
        build_model(ModelSpec("own", weights=str(tmp_path / "own.pth"), labels=two_names(tmp_path)), tmp_path / "store")


@pytest.mark.usefixtures("small_densenet", "quick")
def test_what_the_summary_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    states = {name: torchvision.models.densenet121(num_classes=2).state_dict() for name in ("state_dict", "model_ema")}
    torch.save(states, tmp_path / "own.pth")
    spec = ModelSpec("own", weights=str(tmp_path / "own.pth"), labels=two_names(tmp_path))
    build_model(spec, tmp_path / "store")
    said = capsys.readouterr().err
    assert "state_dict is taken, and --weights-key model_ema takes another" in said
    assert "Its task is single-label: a photo gets one of 2 classes (softmax); if a photo may have several" in said
    assert "--resize 255 --crop 224 --interpolation bilinear --mean 0.485 0.456 0.406 --std 0.229 0.224 0.225" in said
    build_model(replace(spec, task="multi-label", weights_key="model_ema"), tmp_path / "store")
    said = capsys.readouterr().err
    assert "model_ema is taken, and --weights-key state_dict takes another" in said
    assert "Its task is multi-label: a photo gets every class" in said
    assert "--task single-label" not in said


def two_names(folder: Path) -> Path:
    (folder / "labels.txt").write_text("a\nb")
    return folder / "labels.txt"
