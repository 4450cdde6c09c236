"""A hostile exported graph: nothing in it runs, whichever way torch would have come to unpickle it."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from handler.engines.torch import TORCH_FILE, load_module
from handler.errors import ArchiveError

CPU = torch.device("cpu")
ROOT = "model"
WEIGHTS = f"{ROOT}/data/weights/model_weights_config.json"
CONSTANTS = f"{ROOT}/data/constants/model_constants_config.json"
SAMPLE = f"{ROOT}/data/sample_inputs/model.pt"


class Mine:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


class Double(torch.nn.Module):
    shift: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([2.0]))
        self.register_buffer("shift", torch.tensor([1.0]), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight + self.shift


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    torch.export.save(torch.export.export(Double(), (torch.ones(3),)), tmp_path / TORCH_FILE)
    return tmp_path / TORCH_FILE


def change(graph: Path, changes: dict[str, Callable[[bytes], bytes]]) -> None:
    """Rewrite members of the graph; one that is not there is made from nothing."""
    with zipfile.ZipFile(graph) as file:
        members = {name: file.read(name) for name in file.namelist()}
    members |= {name: made(members.get(name, b"")) for name, made in changes.items()}
    with zipfile.ZipFile(graph, "w", zipfile.ZIP_STORED) as file:
        for name, content in members.items():
            file.writestr(name, content)


def saved(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def with_payload(path_name: str, use_pickle: bool) -> Callable[[bytes], bytes]:
    payload = {"path_name": path_name, "is_param": False, "use_pickle": use_pickle, "tensor_meta": None}
    return lambda config: json.dumps({"config": json.loads(config)["config"] | {"mine": payload}}).encode()


def test_an_honest_graph_is_loaded(graph: Path) -> None:
    assert load_module(graph.parent, CPU)(torch.ones(3)).tolist() == [3, 3, 3]


def test_the_mine_is_live(tmp_path: Path) -> None:
    """The tests below prove nothing unless this does."""
    pickle.loads(pickle.dumps(Mine(tmp_path / "ran")))  # noqa: S301
    assert (tmp_path / "ran").exists()


def test_torch_alone_would_run_it(graph: Path, tmp_path: Path) -> None:
    """Should torch stop unpickling example inputs, this module can go."""
    change(graph, {SAMPLE: lambda _: saved(((Mine(tmp_path / "ran"),), {}))})
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever torch makes of what the mine returned
        torch.export.load(graph)
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("config", "path_name", "use_pickle"),
    [
        (WEIGHTS, "weight_0", True),
        (CONSTANTS, "tensor_0", True),
        (CONSTANTS, "opaque_obj_0", False),
        (CONSTANTS, "custom_obj_0", False),
    ],
)
def test_pickled_payloads_are_refused(
    graph: Path, tmp_path: Path, config: str, path_name: str, use_pickle: bool
) -> None:
    mine = pickle.dumps(Mine(tmp_path / "ran"))
    folder = config.rpartition("/")[0]
    change(graph, {config: with_payload(path_name, use_pickle), f"{folder}/{path_name}": lambda _: mine})
    with pytest.raises(ArchiveError, match=r"^model.pt2 holds .*: build"):
        load_module(graph.parent, CPU)
    assert not (tmp_path / "ran").exists()


def test_a_pickled_example_input_is_refused(graph: Path, tmp_path: Path) -> None:
    change(graph, {SAMPLE: lambda _: saved(((Mine(tmp_path / "ran"),), {}))})
    with pytest.raises(ArchiveError, match="holds a pickled object as its example input"):
        load_module(graph.parent, CPU)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "name",
    [
        "serialized_state_dict.pt",
        f"{ROOT}/data/aotinductor/model/model.so",
        f"{ROOT}/extra/code.py",
        f"{ROOT}/models/other.json",
        f"{ROOT}/data/constants/opaque_obj_0",
    ],
)
def test_a_member_that_no_graph_needs_is_refused(graph: Path, name: str) -> None:
    change(graph, {name: lambda _: b""})
    with pytest.raises(ArchiveError, match="which an exported graph has no use for"):
        load_module(graph.parent, CPU)
