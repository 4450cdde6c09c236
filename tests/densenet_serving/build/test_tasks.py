"""The task that a checkpoint shows, and where a person has to say it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from densenet_serving.build.checkpoint import Content
from densenet_serving.build.networks import ARCHITECTURES
from densenet_serving.build.vision import torchvision
from densenet_serving.errors import WeightsError
from handler.card import Task
from tests.densenet_serving.refusals import refused

DENSENET = ARCHITECTURES["densenet121"]
CHANNELS = 68  # of small_densenet
LINEAR, ONE = nn.Linear(CHANNELS, 5), nn.Linear(CHANNELS, 1)

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


def shown(path: Path) -> Task:
    parameters = Content.read(path).parameters(DENSENET)
    _, head = parameters.build(DENSENET)
    return parameters.task(DENSENET, head.out_features)


def saved(content: Any, folder: Path) -> Path:
    torch.save(content, folder / "own.pth")
    return folder / "own.pth"


def named(**layers: nn.Module) -> nn.Module:
    return network(nn.Sequential(OrderedDict(layers)))


@pytest.mark.parametrize(
    ("make", "task"),
    [
        (lambda: network(LINEAR), "single-label"),
        (lambda: network(nn.Sequential(nn.Dropout(), LINEAR)), "single-label"),
        (lambda: network(nn.Sequential(LINEAR)), "single-label"),
        (lambda: network(nn.Sequential(nn.Linear(CHANNELS, 9), nn.ReLU(), nn.Linear(9, 5))), "single-label"),
        (lambda: named(fc=LINEAR, softmax=nn.Softmax(1)), "single-label"),
        (lambda: named(fc=LINEAR, sigmoid=nn.Sigmoid()), "multi-label"),
        (lambda: named(fc=ONE, sigmoid=nn.Sigmoid()), "multi-label"),
        (lambda: Wrapped(LINEAR, sigmoid=nn.Sigmoid()), "multi-label"),
        (lambda: Wrapped(LINEAR, log_softmax=nn.LogSoftmax(1)), "single-label"),
        (lambda: Wrapped(LINEAR, loss=nn.BCEWithLogitsLoss(pos_weight=torch.ones(5))), "multi-label"),
        (lambda: nn.DataParallel(Wrapped(LINEAR, sigmoid=nn.Sigmoid())), "multi-label"),
    ],
)
@pytest.mark.parametrize("wrap", [lambda state: state, lambda state: {"state_dict": state, "epoch": 3}])
def test_what_a_checkpoint_shows(tmp_path: Path, make: Callable[[], nn.Module], task: Task, wrap: Any) -> None:
    assert shown(saved(wrap(make().state_dict()), tmp_path)) == task


@pytest.mark.parametrize(
    ("make", "seen"),
    [
        (lambda: network(nn.Sequential(LINEAR, nn.Sigmoid())), "classifier.1 comes after classifier.0"),
        (lambda: network(nn.Sequential(nn.Dropout(), LINEAR, nn.LogSoftmax(1))), "classifier.2 comes after"),
        (
            lambda: named(fc1=nn.Linear(CHANNELS, 9), relu=nn.ReLU(), fc2=nn.Linear(9, 5), out=nn.Sigmoid()),
            "classifier.out comes after classifier.fc2",
        ),
        (lambda: network(ONE), "one output"),
        (lambda: network(nn.Sequential(LINEAR, nn.Sigmoid())), "classifier.0 is the first of a Sequential"),
    ],
)
def test_what_a_checkpoint_does_not_show_is_asked_for(tmp_path: Path, make: Callable[[], nn.Module], seen: str) -> None:
    path = saved(make().state_dict(), tmp_path)
    if "first" in seen:  # safetensors keeps no list of modules
        save_file(make().state_dict(), path)
    with refused(path, f"{seen}.*--task", WeightsError):
        shown(path)
