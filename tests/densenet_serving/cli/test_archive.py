from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from densenet_serving.build import build
from densenet_serving.build.precision import GraphStep
from densenet_serving.cli.archive import archive
from densenet_serving.options import STAND_IN
from handler.card import CARD_FILE
from tests.densenet_serving.build.archive_files import members


def test_a_model_of_ones_own(quick: None, tmp_path: Path) -> None:
    import torch

    from densenet_serving.build.vision import torchvision

    torch.save(torchvision.models.densenet121(num_classes=2).state_dict(), tmp_path / "own.pth")
    (tmp_path / "own.json").write_text('{"0": ["a", "cat"], "1": ["b", "dog"]}')
    archive(weights=str(tmp_path / "own.pth"), labels=tmp_path / "own.json", model_store=tmp_path, version="3.0")
    card = json.loads(members(tmp_path / "densenet121-3.0.mar")[CARD_FILE])
    assert card["classes"] == 2
    assert card["quantization"] is None


def test_what_int8_did_is_on_the_card(quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def step_of(*options: object) -> GraphStep:
        asked.append(options)
        return lambda _, spec, __: {"precision": "int8", "on": spec.interpolation}

    monkeypatch.setattr(build, "step_of", step_of)
    archive(STAND_IN, model_store=tmp_path, precision="int8", calibrate=tmp_path, min_agreement=0.9)
    built = members(tmp_path / f"{STAND_IN}.mar")
    assert asked == [("int8", tmp_path, 0.9)]
    assert json.loads(built[CARD_FILE])["quantization"] == {"precision": "int8", "on": "bicubic"}
    assert yaml.safe_load(built["model-config.yaml"])["handler"]["precision"] == "auto"
