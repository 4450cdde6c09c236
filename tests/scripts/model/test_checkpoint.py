from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from scripts.errors import WeightsError
from scripts.model.checkpoint import load, load_network
from scripts.model.networks import ARCHITECTURES, StateDict, build_densenet121
from scripts.model.vision import torchvision
from scripts.model.weights import stand_in
from tests.scripts.refusals import refused

DENSENET = ARCHITECTURES["densenet121"]
LAYER = "features.denseblock1.denselayer1"
TINY: StateDict = {
    f"{LAYER}.norm1.weight": torch.tensor([1.0, 2.0]),
    f"{LAYER}.conv2.weight": torch.tensor([[3.0]]),
    "classifier.weight": torch.arange(6.0).reshape(2, 3),
}


def old_form(weights: StateDict) -> StateDict:
    """The keys of the official file, as torchvision's own loader knows them."""
    return {re.sub(r"(norm|conv)([12])\.", r"\1.\2.", key): value for key, value in weights.items()}


def saved(content: Any, path: Path) -> Path:
    torch.save(content, path)
    return path


def same(left: StateDict, right: StateDict) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


@pytest.mark.parametrize(
    "content",
    [
        TINY,
        old_form(TINY),
        {"state_dict": TINY, "epoch": 3},
        {"model": TINY, "optimizer": {"lr": 0.1}},
        {f"module.{key}": value for key, value in TINY.items()},
        {"state_dict": {f"module.{key}": value for key, value in old_form(TINY).items()}},
        {key: value.half() for key, value in TINY.items()},
        {key: value.double() for key, value in TINY.items()},
        TINY | {"epoch": 3, "history": [1, 2]},
        {7: torch.zeros(1)} | TINY,
    ],
    ids=["new", "old", "state_dict", "model", "parallel", "both", "half", "double", "extras", "number as a key"],
)
def test_every_form_of_a_checkpoint_gives_the_same(tmp_path: Path, content: Any) -> None:
    loaded = load(saved(content, tmp_path / "tiny.pth"), DENSENET)
    assert same({key: value for key, value in loaded.items() if key in TINY}, TINY)
    assert all(value.dtype == torch.float32 for value in loaded.values())


def test_safetensors_in_half_precision(tmp_path: Path) -> None:
    save_file({key: value.half() for key, value in old_form(TINY).items()}, tmp_path / "tiny.safetensors")
    assert same(load(tmp_path / "tiny.safetensors", DENSENET), TINY)


@pytest.fixture(scope="module")
def seeded(seeded_checkpoint: Path) -> StateDict:
    weights: StateDict = torch.load(seeded_checkpoint, weights_only=True)
    return weights


def test_the_official_form_builds(tmp_path: Path, seeded: StateDict) -> None:
    """The official file has keys of the old form and no num_batches_tracked."""
    official = old_form({key: value for key, value in seeded.items() if "num_batches_tracked" not in key})
    assert "features.denseblock1.denselayer1.norm.1.weight" in official
    backbone, head = load_network(saved(official, tmp_path / "official.pth"), DENSENET)
    expected, expected_head = build_densenet121(seeded)
    assert not backbone.training
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        features: Tensor = backbone(image)
        torch.testing.assert_close(features, expected.eval()(image))
    assert torch.equal(head.weight, expected_head.weight)


def test_a_checkpoint_of_five_classes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    own = torchvision.models.densenet121(num_classes=5).state_dict()
    _, head = load_network(saved(own, tmp_path / "own.pth"), DENSENET)
    assert head.out_features == 5


def test_the_stand_in_builds() -> None:
    _, head = load_network(stand_in().path, ARCHITECTURES["efficientnet_lite0"])
    assert head.out_features == 1000


def test_a_smaller_network_of_the_same_family(tmp_path: Path, seeded: StateDict) -> None:
    part = {key: value for key, value in seeded.items() if "denseblock4" not in key}
    with pytest.raises(WeightsError, match=r"part.pth is not a checkpoint of DenseNet-121: Missing key") as caught:
        load_network(saved(part, tmp_path / "part.pth"), DENSENET)
    assert len(str(caught.value)) < 400


OTHER = {"fc.weight": torch.zeros(2, 2)}


class Network(torch.nn.Linear):
    """Something a person might pickle whole."""


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
@pytest.mark.parametrize(
    "content",
    [b"", b"hello, this is no checkpoint", b"(lp0", b".", b"<html></html>", bytes(500), b"PK\3\4" + bytes(99)],
)
def test_a_file_that_is_no_checkpoint(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    with refused(path, "is damaged", WeightsError):
        load_network(path, DENSENET)


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.99])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_truncated_file(tmp_path: Path, suffix: str, kept: float) -> None:
    whole = tmp_path / f"whole{suffix}"
    weights = TINY | {"big": torch.rand(5000)}
    save_file(weights, whole) if suffix == ".safetensors" else torch.save(weights, whole)
    path = tmp_path / f"part{suffix}"
    path.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * kept)])
    with refused(path, "is damaged or no checkpoint: fetch or save it again", WeightsError):
        load_network(path, DENSENET)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (Network(2, 2), "holds pickled objects and not only tensors, or is damaged: save model.state_dict"),
        ([torch.zeros(2)], "holds no state_dict: save model.state_dict"),
        (torch.zeros(2), "holds no state_dict: save model.state_dict"),
        (OTHER, "is not a checkpoint of DenseNet-121 (it has no classifier.weight): give one of that"),
        ({"state_dict": OTHER}, "(it has no classifier.weight)"),
        ({}, "(it has no classifier.weight)"),
        (TINY, "is not a checkpoint of DenseNet-121: Missing key"),
    ],
)
def test_what_is_refused(tmp_path: Path, content: Any, why: str) -> None:
    path = saved(content, tmp_path / "model.pth")
    with refused(path, re.escape(why), WeightsError):
        load_network(path, DENSENET)


class Mine:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("suffix", [".pth", ".pt"])
@pytest.mark.parametrize("wrapped", [True, False])
def test_code_in_a_checkpoint_does_not_run(tmp_path: Path, suffix: str, wrapped: bool) -> None:
    mine = Mine(tmp_path / "ran")
    path = saved({**TINY, "mine": mine} if wrapped else mine, tmp_path / f"model{suffix}")
    with refused(path, "holds pickled objects and not only tensors", WeightsError):
        load_network(path, DENSENET)
    assert not (tmp_path / "ran").exists()

    torch.load(path, weights_only=False)  # the mine is live: unpickled, it goes off
    assert (tmp_path / "ran").exists()


def test_a_missing_file_of_a_source_that_vanished(tmp_path: Path) -> None:
    with refused(tmp_path / "gone.pth", "is damaged or no checkpoint", WeightsError):
        load_network(tmp_path / "gone.pth", DENSENET)
