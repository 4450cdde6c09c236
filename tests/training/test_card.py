from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from densenet_serving.build.weights import from_path
from densenet_serving.errors import CommandError
from densenet_serving.files import sha256_of
from handler.card import Accuracy
from training import card

FACTS = card.Facts("efficientnet_lite0", "40 photos: noise", 1234, 1.25, "Apache-2.0")


def test_figures_go_into_the_file_and_the_page_and_leave_the_weights(tmp_path: Path) -> None:
    path = tmp_path / "student.safetensors"
    weights = {"classifier.weight": torch.arange(6.0).half()}
    card.write(path, weights, FACTS)
    assert from_path(path).own  # nothing was measured yet
    page = card.record(path, FACTS, 0.42, 0.675, "eval.tar, 500 photos")
    found = from_path(path).card
    assert found.accuracy == Accuracy(0.42, 0.675, "eval.tar, 500 photos")
    assert (found.license, found.temperature) == ("Apache-2.0", 1.25)
    assert found.training == "1,234 steps on 40 photos: noise, taught by efficientnet_lite0"
    assert card.read_facts(path) == FACTS
    assert torch.equal(load_file(path)["classifier.weight"], weights["classifier.weight"])
    assert (tmp_path / "student.safetensors.sha256").read_text() == f"{sha256_of(path)}  {path.name}\n"
    text = page.read_text()
    assert page == tmp_path / "student.md"
    for part in ("**not** torchvision's official", "efficientnet_lite0", "40 photos: noise", "1,234", "42.0%, 67.5%"):
        assert part in text
    assert "its first answer is wrong for 58" in text
    assert "logits / 1.250" in text


def test_a_file_without_facts_has_none_and_a_damaged_one_is_said(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    assert card.read_facts(tmp_path / "foreign.safetensors") is None
    (tmp_path / "damaged.safetensors").write_bytes(b"no checkpoint")
    with pytest.raises(CommandError, match="is damaged or no checkpoint"):
        card.read_facts(tmp_path / "damaged.safetensors")
