from __future__ import annotations

import argparse
import os
import re
from collections import OrderedDict, defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from densenet_serving.build.checkpoint import classes_in, load, load_network, read
from densenet_serving.build.heads import StateDict
from densenet_serving.build.networks import ARCHITECTURES, ServingModel, build_densenet121
from densenet_serving.build.vision import torchvision
from densenet_serving.build.weights import stand_in
from densenet_serving.errors import WeightsError
from densenet_serving.options import Activation
from tests.densenet_serving.refusals import refused

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
        {"model_state_dict": TINY, "optimizer_state_dict": {"lr": 0.1}, "epoch": 3},
        {"state_dict": {f"model.{key}": value for key, value in TINY.items()} | {"loss.weight": torch.ones(2)}},
        {f"model.module._orig_mod.{key}": value for key, value in TINY.items()},
        {key.replace("classifier.", "classifier.1."): value for key, value in TINY.items()},
        {f"module.{key}": value for key, value in TINY.items()},
        {"state_dict": {f"module.{key}": value for key, value in old_form(TINY).items()}},
        {key: value.half() for key, value in TINY.items()},
        {key: value.double() for key, value in TINY.items()},
        TINY | {"epoch": 3, "history": [1, 2]},
        {7: torch.zeros(1)} | TINY,
    ],
    ids=[
        "new",
        "old",
        "state_dict",
        "model",
        "tutorial",
        "lightning",
        "compiled",
        "dropout",
        "parallel",
        "both",
        "half",
        "double",
        "extras",
        "number as a key",
    ],
)
def test_every_form_of_a_checkpoint_gives_the_same(tmp_path: Path, content: Any) -> None:
    loaded = load(saved(content, tmp_path / "tiny.pth"), DENSENET)
    assert same({key: value for key, value in loaded.items() if key in TINY}, TINY)
    assert all(value.dtype == torch.float32 for value in loaded.values())


@pytest.mark.parametrize(
    ("tensor", "kind"), [(torch.zeros(64).to_sparse(), "sparse_coo"), (torch.zeros(64, device="meta"), "meta")]
)
def test_a_tensor_without_its_numbers_is_refused(tmp_path: Path, seeded: StateDict, tensor: Tensor, kind: str) -> None:
    path = saved({**seeded, "features.norm0.weight": tensor}, tmp_path / "odd.pth")
    with refused(path, rf"holds a {kind} tensor \(features.norm0.weight\)"):
        read(path, ARCHITECTURES["densenet121"])


@pytest.mark.parametrize("key", ["features.norm5.bias", "classifier.weight"])
def test_a_tensor_that_one_value_was_expanded_to_is_refused(tmp_path: Path, seeded: StateDict, key: str) -> None:
    expanded = torch.zeros(1, dtype=torch.half).expand(5_000_000_000)
    path = saved({**seeded, key: expanded}, tmp_path / "expanded.pth")
    with refused(path, "numbers, most of them in"):
        read(path, ARCHITECTURES["densenet121"])


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
    with pytest.raises(
        WeightsError,
        match=r"part.pth is not a checkpoint of DenseNet-121 \(it lacks features.denseblock4.* and \d+ more\)",
    ) as caught:
        load_network(saved(part, tmp_path / "part.pth"), DENSENET)
    assert len(str(caught.value)) < 400


def fine_tuned(head: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = torchvision.models.densenet121()
    network.classifier = head
    return network.eval()


CHANNELS = 68  # of small_densenet
HEADS: dict[str, tuple[nn.Module, Activation]] = {
    "dropout": (nn.Sequential(nn.Dropout(0.5), nn.Linear(CHANNELS, 5)), "relu"),
    "no bias": (nn.Linear(CHANNELS, 5, bias=False), "relu"),
    "hidden": (nn.Sequential(nn.Linear(CHANNELS, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 5)), "relu"),
    "two hidden": (
        nn.Sequential(nn.Linear(CHANNELS, 9), nn.GELU(), nn.Linear(9, 9), nn.GELU(), nn.Linear(9, 5)),
        "gelu",
    ),
    "named": (nn.Sequential(OrderedDict(fc1=nn.Linear(CHANNELS, 8), relu=nn.ReLU(), fc2=nn.Linear(8, 5))), "relu"),
}


@pytest.mark.usefixtures("small_densenet")
@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_heads_that_people_put_on(tmp_path: Path, name: str, suffix: str) -> None:
    own_head, activation = HEADS[name]
    network, path = fine_tuned(own_head), tmp_path / f"own{suffix}"
    save_file(network.state_dict(), path) if suffix == ".safetensors" else torch.save(network.state_dict(), path)
    backbone, head = load_network(path, replace(DENSENET, activation=activation))
    assert head.out_features == 5
    pixels = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    model = ServingModel(backbone, head, DENSENET.preprocessing).eval()
    with torch.inference_mode():
        torch.testing.assert_close(model(pixels)[0], network(model.normalize(pixels)), atol=1e-5, rtol=1e-4)


@pytest.mark.usefixtures("small_densenet")
@pytest.mark.parametrize(
    ("head", "why"),
    [
        (nn.Sequential(nn.BatchNorm1d(CHANNELS), nn.Linear(CHANNELS, 5)), "its head may have linear layers only"),
        (nn.Sequential(nn.LayerNorm(CHANNELS), nn.Linear(CHANNELS, 5)), "its head may have linear layers only"),
        (nn.Sequential(nn.Linear(CHANNELS, 8), nn.Linear(9, 5)), "the layers of its head do not fit each other"),
        (
            nn.Sequential(nn.Linear(512, 8), nn.ReLU(), nn.Linear(8, 5)),
            r"is not a checkpoint of DenseNet-121 \(its classifier.* has the shape \(8, 512\) and not",
        ),
    ],
)
def test_heads_that_cannot_be_built(tmp_path: Path, head: nn.Module, why: str) -> None:
    path = saved(fine_tuned(head).state_dict(), tmp_path / "own.pth")
    with refused(path, why, WeightsError):
        load_network(path, DENSENET)


OTHER_TINY = {key: value + 1 for key, value in TINY.items()}


@pytest.mark.parametrize(
    ("content", "key", "averaged"),
    [
        ({"state_dict": TINY, "state_dict_ema": OTHER_TINY}, "state_dict", "state_dict_ema"),
        (
            {"model_ema": {f"module.{key}": value for key, value in OTHER_TINY.items()}, "model": TINY},
            "model",
            "model_ema",
        ),
        ({"params_ema": OTHER_TINY, "params": TINY}, "params", "params_ema"),
        ({"teacher": OTHER_TINY, "student": TINY}, "student", "teacher"),
        (
            {
                "state_dict": {
                    f"{name}.{key}": value
                    for name, one in (("model", TINY), ("ema", OTHER_TINY))
                    for key, value in one.items()
                }
            },
            "state_dict.model",
            "state_dict.ema",
        ),
    ],
)
def test_two_sets_of_weights(tmp_path: Path, content: Any, key: str, averaged: str) -> None:
    path = saved(content, tmp_path / "two.pth")
    taken = read(path, DENSENET)
    assert same(taken.tensors, TINY)
    assert taken.found.key == key
    assert taken.others[0].startswith(averaged)
    assert same(read(path, DENSENET, averaged).tensors, OTHER_TINY)
    assert same(read(path, DENSENET, taken.others[0]).tensors, OTHER_TINY)


@pytest.mark.parametrize(
    "wrapper", ["model_ema", "ema_state_dict", "ema", "params", "module", "network", "weights", "whatever.it.is"]
)
def test_any_wrapper_that_is_the_only_one(tmp_path: Path, wrapper: str) -> None:
    assert same(load(saved({wrapper: TINY, "epoch": 3}, tmp_path / "tiny.pth"), DENSENET), TINY)
    assert same(load(saved({"a": {wrapper: {"state_dict": TINY}}}, tmp_path / "tiny.pth"), DENSENET), TINY)


def test_two_networks_of_which_none_comes_first(tmp_path: Path) -> None:
    path = saved({"net_a": TINY, "net_b": OTHER_TINY}, tmp_path / "two.pth")
    with refused(path, r"holds several networks \(net_a, net_b\): choose one with --weights-key", WeightsError):
        load_network(path, DENSENET)
    with refused(path, r"no one network under --weights-key model_ema: give one of net_a, net_b", WeightsError):
        read(path, DENSENET, "model_ema")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_torchscript_program(tmp_path: Path) -> None:
    path = tmp_path / "traced.pt"
    torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)).save(path)  # type: ignore[no-untyped-call]
    with refused(path, r"is a TorchScript program .*: save torch.jit.load\('traced.pt'\).state_dict\(\)", WeightsError):
        load_network(path, DENSENET)


def test_a_whole_model_pickled(tmp_path: Path) -> None:
    path = saved(fine_tuned(nn.Linear(1024, 5)), tmp_path / "whole.pth")
    with refused(path, r"\(torchvision.models.densenet.DenseNet\), .* would run code: .* save model.state_dict\(\)"):
        load_network(path, DENSENET)


@pytest.mark.parametrize(
    ("said", "classes"),
    [
        ({"class_to_idx": {"daisy": 0, "rose": 1}}, {"daisy": 0, "rose": 1}),
        ({"classes": ["daisy", "rose"], "epoch": 3}, ["daisy", "rose"]),
        ({"classes": np.array(["daisy", "rose"])}, ["daisy", "rose"]),
        ({"idx_to_class": {0: "daisy", 1: "rose"}}, {0: "daisy", 1: "rose"}),
        ({"class_to_idx": {"daisy": np.int64(0), "rose": torch.tensor(1)}}, {"daisy": 0, "rose": 1}),
        ({"args": argparse.Namespace(class_names=["daisy", "rose"])}, ["daisy", "rose"]),
        ({"meta": {"CLASSES": ("daisy", "rose")}}, ("daisy", "rose")),
        ({"classes": 2}, None),
        ({}, None),
    ],
)
def test_classes_that_a_checkpoint_names(tmp_path: Path, said: dict[str, object], classes: object) -> None:
    path = saved({"model_state_dict": TINY} | said, tmp_path / "own.pth")
    assert classes_in(path) == classes


OTHER = {"fc.weight": torch.zeros(2, 2)}


class Network(torch.nn.Linear):
    """Something a person might pickle whole."""


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
@pytest.mark.parametrize(
    "content",
    [b"hello, this is no checkpoint", b"(lp0", b".", bytes(500), b"PK\3\4" + bytes(99)],
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
    with refused(path, "is damaged or no checkpoint.*: fetch or save it again", WeightsError):
        load_network(path, DENSENET)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (
            Network(2, 2),
            "not only tensors (tests.densenet_serving.build.test_checkpoint.Network), and loading them would run code",
        ),
        ([torch.zeros(2)], "holds no state_dict: save model.state_dict"),
        (torch.zeros(2), "holds no state_dict: save model.state_dict"),
        (
            OTHER,
            "is not a checkpoint of DenseNet-121 (it has no classifier.weight and no key with features.; "
            "at its top are fc.weight)",
        ),
        ({"state_dict": OTHER}, "(it has no classifier.weight and"),
        ({}, "(it has no classifier.weight and no key with features.; it is empty)"),
        (
            {key: value for key, value in TINY.items() if key != "classifier.weight"},
            "(it has no classifier.weight): give",
        ),
        (TINY, "is not a checkpoint of DenseNet-121 (it lacks features.conv0.weight and "),
    ],
)
def test_what_is_refused(tmp_path: Path, content: Any, why: str) -> None:
    path = saved(content, tmp_path / "model.pth")
    with refused(path, re.escape(why), WeightsError):
        load_network(path, DENSENET)


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        (
            "classifier.weight",
            torch.tensor([[1.0, float("nan")]]),
            "NaN or infinite in float32, the first of them in classifier.weight",
        ),
        (f"{LAYER}.norm1.weight", torch.tensor([float("-inf")]), "NaN or infinite"),
        ("classifier.weight", torch.tensor([[1e300]], dtype=torch.float64), "NaN or infinite"),
        ("classifier.weight", torch.ones((2, 3), dtype=torch.int8), "whole-number weights .classifier.weight is int8"),
    ],
)
def test_numbers_that_cannot_be_served(tmp_path: Path, key: str, value: Tensor, why: str) -> None:
    with refused(path := saved(TINY | {key: value}, tmp_path / "tiny.pth"), why, WeightsError):
        load(path, DENSENET)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_quantized_weights(tmp_path: Path) -> None:
    quantized = torch.quantize_per_tensor(torch.ones(2, 3), 0.1, 0, torch.qint8)
    path = saved(TINY | {"classifier.weight": quantized}, tmp_path / "tiny.pth")
    with refused(path, "quantized .* is qint8.: give the floating-point", WeightsError):
        load(path, DENSENET)


class Stage(Enum):
    """Of a training program: this name is not imported where its checkpoint is read."""

    LAST = 3


@pytest.mark.parametrize(
    "harmless",
    [
        argparse.Namespace(lr=0.1, data=Path("/data"), classes=None),
        np.float64(0.91),
        np.int64(3),
        np.array(["a", "b"]),
        np.array(["a", None], dtype=object),
        np.random.default_rng(0).bit_generator.state,
        Path("/data"),
        datetime.now(UTC),
        timedelta(seconds=3),
        defaultdict(list, a=[1]),
        Stage.LAST,
        {Stage.LAST: 1},
        torch.__version__,
    ],
    ids=str,
)
@pytest.mark.parametrize("new", [True, False])
def test_harmless_objects_beside_the_tensors(tmp_path: Path, harmless: Any, new: bool) -> None:
    path = tmp_path / "own.pth"
    torch.save({"state_dict": TINY, "beside": harmless}, path, _use_new_zipfile_serialization=new)
    assert same(load(path, DENSENET), TINY)


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
    with refused(tmp_path / "gone.pth", "cannot be read .*: give a checkpoint", WeightsError):
        load_network(tmp_path / "gone.pth", DENSENET)
