"""A model of one's own, from a checkpoint as people write it to the answers of a worker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from handler.labels import softmax
from scripts.archives.build import build_model
from scripts.archives.spec import ModelSpec
from scripts.model.vision import torchvision
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
