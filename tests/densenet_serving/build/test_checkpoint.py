from __future__ import annotations

import argparse
import os
import re
from collections import OrderedDict, defaultdict
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from densenet_serving.build.checkpoint import Content, Parameters, load_network
from densenet_serving.build.graph import HiddenLayers, ServingModel, StateDict
from densenet_serving.build.networks import ARCHITECTURES, build_densenet121
from densenet_serving.build.vision import torchvision
from densenet_serving.errors import WeightsError
from densenet_serving.options import Activation
from tests.densenet_serving.refusals import refused

DENSENET = ARCHITECTURES["densenet121"]
CHANNELS = 68  # of small_densenet
LAYER = "features.denseblock1.denselayer1"
TINY: StateDict = {
    f"{LAYER}.norm1.weight": torch.tensor([1.0, 2.0]),
    f"{LAYER}.conv2.weight": torch.tensor([[3.0]]),
    "classifier.weight": torch.arange(6.0).reshape(2, 3),
}
OTHER_TINY = {key: value + 1 for key, value in TINY.items()}


def old_form(weights: StateDict) -> StateDict:
    """The keys of the official file, as torchvision's own loader knows them."""
    return {re.sub(r"(norm|conv)([12])\.", r"\1.\2.", key): value for key, value in weights.items()}


def under(prefix: str, weights: StateDict) -> StateDict:
    return {f"{prefix}.{key}": value for key, value in weights.items()}


def saved(content: Any, folder: Path, name: str = "own.pth", **options: Any) -> Path:
    path = folder / name
    save_file(content, path) if name.endswith(".safetensors") else torch.save(content, path, **options)
    return path


def read(path: Path, weights_key: str | None = None) -> Parameters:
    return Content.read(path).parameters(DENSENET, weights_key)


def same(left: StateDict, right: StateDict) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


@pytest.fixture
def small(small_densenet: None) -> StateDict:
    """A whole network of few layers and five classes."""
    torch.manual_seed(0)
    weights: StateDict = torchvision.models.densenet121(num_classes=5).state_dict()
    return weights


def fine_tuned(head: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = torchvision.models.densenet121()
    network.classifier = head
    return network.eval()


@pytest.mark.parametrize(
    "make",
    [
        lambda weights: weights,
        old_form,
        lambda weights: {key: one for key, one in old_form(weights).items() if "num_batches_tracked" not in key},
        lambda weights: {"state_dict": weights, "epoch": 3},
        lambda weights: {"model": weights, "optimizer": {"lr": 0.1}},
        lambda weights: {"model_state_dict": weights, "optimizer_state_dict": {"lr": 0.1}, "epoch": 3},
        lambda weights: {"state_dict": under("model", weights) | {"loss.weight": torch.ones(2)}},
        lambda weights: under("model.module._orig_mod", weights),
        lambda weights: {key.replace("classifier.", "classifier.1."): one for key, one in weights.items()},
        lambda weights: {"state_dict": under("module", old_form(weights))},
        lambda weights: {key: value.half() if value.is_floating_point() else value for key, value in weights.items()},
        lambda weights: {key: value.double() for key, value in weights.items()},
        lambda weights: weights | {"epoch": 3, "history": [1, 2], "features.total_ops": torch.ones(1)},
        lambda weights: {7: torch.zeros(1), "state_dict": weights},
        *(
            lambda weights, key=key: {key: weights, "epoch": 3}
            for key in ("model_ema", "ema_state_dict", "ema", "params", "module", "weights", "whatever.it.is")
        ),
        lambda weights: {"a": {"ema": {"state_dict": weights}}},
    ],
)
def test_every_form_of_a_checkpoint_gives_the_same(tmp_path: Path, small: StateDict, make: Any) -> None:
    backbone, head = load_network(saved(make(small), tmp_path), DENSENET)
    expected, expected_head = build_densenet121(small)
    assert not backbone.training
    for got, own in ((backbone, expected), (head, expected_head)):
        for key, value in own.state_dict().items():
            torch.testing.assert_close(got.state_dict()[key], value, atol=1e-3, rtol=1e-3)


HEADS: dict[str, tuple[nn.Module, Activation]] = {
    "dropout": (nn.Sequential(nn.Dropout(0.5), nn.Linear(CHANNELS, 5)), "relu"),
    "no bias": (nn.Linear(CHANNELS, 5, bias=False), "relu"),
    "hidden": (nn.Sequential(nn.Linear(CHANNELS, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 5)), "relu"),
    "gelu": (nn.Sequential(nn.Linear(CHANNELS, 9), nn.GELU(), nn.Linear(9, 9), nn.GELU(), nn.Linear(9, 5)), "gelu"),
    "named": (nn.Sequential(OrderedDict(fc1=nn.Linear(CHANNELS, 8), relu=nn.ReLU(), fc2=nn.Linear(8, 5))), "relu"),
}


@pytest.mark.usefixtures("small_densenet")
@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("file", ["own.pth", "own.safetensors"])
def test_heads_that_people_put_on(tmp_path: Path, name: str, file: str) -> None:
    own_head, activation = HEADS[name]
    network = fine_tuned(own_head)
    backbone, head = load_network(saved(network.state_dict(), tmp_path, file), DENSENET)
    if isinstance(head, HiddenLayers):
        head.activation = activation
    pixels = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    model = ServingModel(backbone, head, DENSENET.preprocessing).eval()
    with torch.inference_mode():
        torch.testing.assert_close(model(pixels)[0], network(model.normalize(pixels)), atol=1e-5, rtol=1e-4)


@pytest.mark.usefixtures("small_densenet")
@pytest.mark.parametrize(
    ("head", "named"),
    [
        (nn.Sequential(nn.BatchNorm1d(CHANNELS), nn.Linear(CHANNELS, 5)), "linear layers only"),
        (nn.Sequential(nn.Linear(CHANNELS, 8), nn.Linear(9, 5)), "classifier.0.weight"),
        (nn.Sequential(nn.Linear(512, 8), nn.ReLU(), nn.Linear(8, 5)), r"\[8, 512\]"),
    ],
)
def test_heads_that_cannot_be_built(tmp_path: Path, head: nn.Module, named: str) -> None:
    path = saved(fine_tuned(head).state_dict(), tmp_path)
    with refused(path, f"DenseNet-121 .*{named}", WeightsError):
        load_network(path, DENSENET)


@pytest.mark.parametrize(
    ("content", "key", "averaged"),
    [
        ({"state_dict": TINY, "state_dict_ema": OTHER_TINY}, "state_dict", "state_dict_ema"),
        ({"model_ema": under("module", OTHER_TINY), "model": TINY}, "model", "model_ema"),
        ({"params_ema": OTHER_TINY, "params": TINY}, "params", "params_ema"),
        ({"teacher": OTHER_TINY, "student": TINY}, "student", "teacher"),
        ({"state_dict": under("model", TINY) | under("ema", OTHER_TINY)}, "state_dict.model", "state_dict.ema"),
    ],
)
def test_of_two_sets_of_weights_the_average_is_taken_only_if_it_is_named(
    tmp_path: Path, content: Any, key: str, averaged: str
) -> None:
    path = saved(content, tmp_path)
    taken = read(path)
    assert same(taken.tensors, TINY)
    assert taken.key == key
    assert taken.others[0].startswith(averaged)
    assert same(read(path, averaged).tensors, OTHER_TINY)
    assert same(read(path, taken.others[0]).tensors, OTHER_TINY)


def test_two_networks_of_which_none_comes_first(tmp_path: Path) -> None:
    path = saved({"net_a": TINY, "net_b": OTHER_TINY}, tmp_path)
    for weights_key in (None, "model_ema"):
        with refused(path, "net_a, net_b.* --weights-key", WeightsError):
            read(path, weights_key)


@pytest.mark.parametrize(
    ("said", "classes"),
    [
        ({"class_to_idx": {"daisy": 0, "rose": 1}}, {"daisy": 0, "rose": 1}),
        ({"classes": ["daisy", "rose"], "epoch": 3}, ["daisy", "rose"]),
        ({"classes": np.array(["daisy", "rose"])}, ["daisy", "rose"]),
        ({"idx_to_class": {0: "daisy", 1: "rose"}}, {0: "daisy", 1: "rose"}),
        ({"class_to_idx": {"daisy": np.int64(0), "rose": torch.tensor(1)}}, {"daisy": 0, "rose": 1}),
        ({"args": argparse.Namespace(class_names=["daisy", "rose"])}, ["daisy", "rose"]),
        ({"meta": {"CLASSES": ("daisy", "rose")}}, ["daisy", "rose"]),
        ({"classes": 2}, None),
        ({}, None),
    ],
)
def test_classes_that_a_checkpoint_names(tmp_path: Path, said: dict[str, object], classes: object) -> None:
    assert Content.read(saved({"model_state_dict": TINY} | said, tmp_path)).classes() == classes


@pytest.mark.parametrize("file", ["own.pth", "own.pt", "own.safetensors"])
@pytest.mark.parametrize(
    "content", [b"hello, this is none", b"(lp0", b".", bytes(500), b"PK\3\4" + bytes(99), 0.2, 0.5, 0.99]
)
def test_a_file_that_is_damaged(tmp_path: Path, file: str, content: bytes | float) -> None:
    path = saved(TINY | {"big": torch.rand(5000)}, tmp_path, file)
    whole = path.read_bytes()
    path.write_bytes(content if isinstance(content, bytes) else whole[: int(len(whole) * content)])
    with refused(path, "is damaged or no checkpoint", WeightsError):
        load_network(path, DENSENET)
    path.unlink()
    with refused(path, "No such file", WeightsError):
        load_network(path, DENSENET)


class Network(nn.Linear):
    """Something a person might pickle whole."""


OTHER = {"fc.weight": torch.zeros(2, 2)}


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (Network(2, 2), r"\(tests.densenet_serving.build.test_checkpoint.Network\), .*save model.state_dict\(\)"),
        ([torch.zeros(2)], "no state_dict"),
        (torch.zeros(2), "no state_dict"),
        (OTHER, r"DenseNet-121 .* features\.; .* fc.weight.*--architecture"),
        ({"state_dict": OTHER}, r"DenseNet-121 .* features\."),
        ({}, "empty"),
        ({key: value for key, value in TINY.items() if key != "classifier.weight"}, "no classifier.weight"),
        (TINY, "DenseNet-121 .*features.conv0.weight.*--architecture"),
        (TINY | {"classifier.weight": torch.tensor([[1.0, float("nan")]])}, "NaN .*classifier.weight"),
        (TINY | {f"{LAYER}.norm1.weight": torch.tensor([float("-inf")])}, "infinite"),
        (TINY | {"classifier.weight": torch.tensor([[1e300]], dtype=torch.float64)}, "float32.*classifier.weight"),
        (TINY | {"classifier.weight": torch.ones((2, 3), dtype=torch.int8)}, "classifier.weight is int8"),
        (TINY | {f"{LAYER}.norm1.weight": torch.zeros(64).to_sparse()}, f"{LAYER}.norm1.weight.* sparse"),
        (TINY | {f"{LAYER}.norm1.weight": torch.zeros(64, device="meta")}, f"{LAYER}.norm1.weight.* meta"),
        (TINY | {"features.one": torch.zeros(1, dtype=torch.half).expand(5_000_000_000)}, "features.one.* expanded"),
    ],
)
def test_what_is_refused(tmp_path: Path, content: Any, named: str) -> None:
    path = saved(content, tmp_path)
    with refused(path, named, WeightsError):
        load_network(path, DENSENET)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_quantized_weights(tmp_path: Path) -> None:
    quantized = torch.quantize_per_tensor(torch.ones(2, 3), 0.1, 0, torch.qint8)
    with refused(path := saved(TINY | {"classifier.weight": quantized}, tmp_path), "qint8", WeightsError):
        load_network(path, DENSENET)


class Stage(Enum):
    """Of a training program: this name is not imported where its checkpoint is read."""

    LAST = 3


@pytest.mark.parametrize(
    "harmless",
    [
        argparse.Namespace(lr=0.1, data=Path("/data"), classes=None, type=int),
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
    content = {"state_dict": TINY, "beside": harmless}
    assert same(read(saved(content, tmp_path, _use_new_zipfile_serialization=new)).tensors, TINY)


class Mine:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("wrapped", [True, False])
def test_code_in_a_checkpoint_does_not_run(tmp_path: Path, wrapped: bool) -> None:
    mine = Mine(tmp_path / "ran")
    path = saved({**TINY, "mine": mine} if wrapped else mine, tmp_path)
    with refused(path, r"\(posix.mkdir\)", WeightsError):
        load_network(path, DENSENET)
    assert not (tmp_path / "ran").exists()

    torch.load(path, weights_only=False)  # the mine is live: unpickled, it goes off
    assert (tmp_path / "ran").exists()
