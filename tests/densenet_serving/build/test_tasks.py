from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from densenet_serving.build import tasks
from densenet_serving.build.checkpoint import build, read
from densenet_serving.build.networks import ARCHITECTURES
from densenet_serving.build.vision import torchvision
from densenet_serving.errors import WeightsError
from handler.card import Task
from tests.densenet_serving.refusals import refused

DENSENET = ARCHITECTURES["densenet121"]
CHANNELS = 68  # of small_densenet

pytestmark = pytest.mark.usefixtures("small_densenet")


def network(head: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    made: nn.Module = torchvision.models.densenet121()
    made.classifier = head
    return made


class Wrapped(nn.Module):
    """CheXNet's form: the network is a part, and the sigmoid another."""

    def __init__(self, head: nn.Module, **beside: nn.Module) -> None:
        super().__init__()
        self.densenet121 = network(head)
        for name, module in beside.items():
            self.add_module(name, module)


def decided(path: Path, given: Task | None = None) -> Task:
    weights = read(path, DENSENET)
    _, head = build(weights, DENSENET)
    return tasks.decide(given, weights, DENSENET.classifier_key, head.out_features)


def saved(content: Any, folder: Path) -> Path:
    torch.save(content, folder / "own.pth")
    return folder / "own.pth"


LINEAR = nn.Linear(CHANNELS, 5)


@pytest.mark.parametrize(
    ("make", "task"),
    [
        (lambda: network(LINEAR), "single-label"),
        (lambda: network(nn.Sequential(nn.Dropout(), LINEAR)), "single-label"),
        (lambda: network(nn.Sequential(LINEAR)), "single-label"),
        (lambda: network(nn.Sequential(nn.Linear(CHANNELS, 9), nn.ReLU(), nn.Linear(9, 5))), "single-label"),
        (lambda: network(nn.Sequential(OrderedDict(fc=LINEAR, softmax=nn.Softmax(1)))), "single-label"),
        (lambda: network(nn.Sequential(OrderedDict(fc=LINEAR, sigmoid=nn.Sigmoid()))), "multi-label"),
        (lambda: network(nn.Sequential(OrderedDict(fc=nn.Linear(CHANNELS, 1), sigmoid=nn.Sigmoid()))), "multi-label"),
        (lambda: Wrapped(LINEAR, sigmoid=nn.Sigmoid()), "multi-label"),
        (lambda: Wrapped(LINEAR, log_softmax=nn.LogSoftmax(1)), "single-label"),
        (lambda: Wrapped(LINEAR, loss=nn.BCEWithLogitsLoss(pos_weight=torch.ones(5))), "multi-label"),
        (lambda: nn.DataParallel(Wrapped(LINEAR, sigmoid=nn.Sigmoid())), "multi-label"),
    ],
)
@pytest.mark.parametrize("wrap", [lambda state: state, lambda state: {"state_dict": state, "epoch": 3}])
def test_what_a_checkpoint_shows(tmp_path: Path, make: Callable[[], nn.Module], task: Task, wrap: Any) -> None:
    assert decided(saved(wrap(make().state_dict()), tmp_path)) == task


ASK = r"and what follows it is not in the file: give --task multi-label if .*, or --task single-label if"


@pytest.mark.parametrize(
    ("head", "after"),
    [
        (nn.Sequential(LINEAR, nn.Sigmoid()), "classifier.1 comes after classifier.0"),
        (nn.Sequential(nn.Dropout(), LINEAR, nn.LogSoftmax(1)), "classifier.2 comes after classifier.1"),
        (
            nn.Sequential(OrderedDict(fc1=nn.Linear(CHANNELS, 9), r=nn.ReLU(), fc2=nn.Linear(9, 5), out=nn.Sigmoid())),
            "classifier.out comes after classifier.fc2",
        ),
    ],
)
def test_an_ending_that_a_checkpoint_does_not_show_is_asked_for(tmp_path: Path, head: nn.Module, after: str) -> None:
    path = saved(network(head).state_dict(), tmp_path)
    with refused(path, f"does not end in its linear layer .{re.escape(after)}., {ASK}", WeightsError):
        decided(path)
    assert decided(path, "multi-label") == "multi-label"
    assert decided(path, "single-label") == "single-label"


def test_a_sequential_without_a_list_of_modules(tmp_path: Path) -> None:
    save_file(network(nn.Sequential(LINEAR, nn.Sigmoid())).state_dict(), tmp_path / "own.safetensors")
    with refused(tmp_path / "own.safetensors", "classifier.0 is the first of a Sequential", WeightsError):
        decided(tmp_path / "own.safetensors")


def test_one_output_is_asked_for(tmp_path: Path) -> None:
    path = saved(network(nn.Linear(CHANNELS, 1)).state_dict(), tmp_path)
    with refused(path, "has one output, .*: give --task single-label and two names .*--task multi-label and one name"):
        decided(path)
    assert decided(path, "multi-label") == "multi-label"


@pytest.mark.parametrize("bias", [True, False])
def test_one_output_becomes_two_of_the_same_meaning(bias: bool) -> None:
    torch.manual_seed(0)
    head, pooled = nn.Linear(8, 1, bias=bias), torch.randn(5, 8)
    expected = head(pooled).sigmoid()[:, 0]
    single, several = (tasks.as_two(head, task) for task in ("single-label", "multi-label"))
    torch.testing.assert_close(single(pooled).softmax(1), torch.stack((1 - expected, expected), 1))
    torch.testing.assert_close(several(pooled).sigmoid(), torch.stack((1 - expected, expected), 1))
    assert single.out_features == 2
    assert head.out_features == 1
