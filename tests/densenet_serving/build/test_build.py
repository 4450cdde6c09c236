from __future__ import annotations

import json
import shlex
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file
from typer.testing import CliRunner, Result

from densenet_serving import paths
from densenet_serving.build import graph, precision
from densenet_serving.build.archives import Archive, BuildCommand
from densenet_serving.build.build import ModelSpec, build_model
from densenet_serving.build.graph import ServingModel
from densenet_serving.build.vision import torchvision
from densenet_serving.cli.main import app
from densenet_serving.errors import CommandError
from densenet_serving.options import MODEL, STAND_IN
from handler.card import CARD_FILE
from handler.settings import Settings
from tests.checkpoints import FACTS, few_layers, write_embedded
from tests.densenet_serving.build.archive_files import members, write_archive
from tests.disks import small_disk

pytestmark = pytest.mark.usefixtures("small_densenet")


@pytest.fixture(scope="module")
def flowers(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two checkpoints of two classes, which they name."""
    import torch

    written = [tmp_path_factory.mktemp("flowers") / name for name in ("first.pth", "second.pth")]
    for path in written:
        with few_layers():
            weights = torchvision.models.densenet121(num_classes=2).state_dict()
        torch.save({"model_state_dict": weights, "class_to_idx": {"rose": 1, "daisy": 0}}, path)
    return list(map(str, written))


def card_in(mar: Path) -> dict[str, Any]:
    card: dict[str, Any] = json.loads(members(mar)[CARD_FILE])
    return card


def densenet(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_the_stand_in_needs_no_file_and_its_version_is_in_the_name(quick: None, tmp_path: Path) -> None:
    path = build_model(ModelSpec(STAND_IN, version="2.1"), tmp_path / "new" / "store", chosen=False)
    assert path == tmp_path / "new" / "store" / "efficientnet_lite0-2.1.mar"
    archive = Archive.read(path)
    assert (archive.name, archive.version, card_in(path)["version"]) == (STAND_IN, "2.1", "2.1")
    command = BuildCommand.read(path)
    assert command
    assert command.stand_in
    assert "--weights" not in command.arguments


def test_a_precision_of_its_own_is_the_only_setting_that_changes(
    quick: None, tmp_path: Path, flowers: list[str]
) -> None:
    path = build_model(ModelSpec("flowers", flowers[0], precision="f32"), tmp_path)
    built = yaml.safe_load(members(path)["model-config.yaml"])
    usual = yaml.safe_load((paths.HANDLER / "model-config.yaml").read_text())
    assert Settings.from_config(built).precision == "f32"
    built["handler"]["precision"] = usual["handler"]["precision"]
    assert built == usual


def test_what_int8_did_is_on_the_card(
    quick: None, tmp_path: Path, flowers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "find_spec", lambda _: True)
    monkeypatch.setattr(precision, "apply", lambda *_: {"precision": "int8"})
    path = build_model(ModelSpec("flowers", flowers[0], precision="int8", min_agreement=0.9), tmp_path)
    assert card_in(path)["quantization"] == {"precision": "int8"}
    assert yaml.safe_load(members(path)["model-config.yaml"])["handler"]["precision"] == "auto"


def test_an_embedded_checkpoint(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch
    from safetensors.torch import load_file

    exported: list[ServingModel] = []
    monkeypatch.setattr(paths, "WEIGHTS", tmp_path)
    monkeypatch.setattr(graph, "export", lambda model, *_: exported.append(model))
    weights = load_file(write_embedded(tmp_path))
    said = card_in(build_model(ModelSpec(MODEL, "embedded"), tmp_path))["weights"]
    assert {name: said[name] for name in FACTS} == FACTS
    assert "not the official one" in said["source"]
    assert "43.2 % top-1 and 66.7 % top-5 on eval.tar" in capsys.readouterr().err
    (model,) = exported
    for name in ("weight", "bias"):
        expected = weights[f"classifier.{name}"].float() / FACTS["temperature"]
        torch.testing.assert_close(getattr(model.head, name).detach(), expected)


@pytest.mark.parametrize("name", ["", "../2", "2/0", "-1", "two words", ".hidden", "a,b", "a=b"])
def test_a_name_that_fits_no_address(name: str) -> None:
    with pytest.raises(CommandError, match=f"version '{name}'"):
        ModelSpec(MODEL, version=name)
    with pytest.raises(CommandError, match=f"model '{name}'"):
        ModelSpec(name, "own.pth")


def test_another_model_is_not_overwritten_unasked(quick: None, tmp_path: Path, flowers: list[str]) -> None:
    first, second = (ModelSpec("flowers", path) for path in flowers)
    path = build_model(first, tmp_path)
    before = path.read_bytes()
    build_model(first, tmp_path)  # the same again
    with pytest.raises(CommandError, match=r"flowers.mar .*flowers 1.0, weights from file first.pth.* --overwrite"):
        build_model(second, tmp_path)
    assert path.read_bytes() == before
    build_model(replace(second, version="2.0"), tmp_path)
    build_model(second, tmp_path, overwrite=True)
    assert path.read_bytes() != before
    with pytest.raises(CommandError, match=r"flowers 2.0"):  # of the same file name
        build_model(replace(second, model="flowers-2.0"), tmp_path)
    write_archive(path)  # somebody else's
    with pytest.raises(CommandError, match=r"flowers.mar .*no model card"):
        build_model(first, tmp_path)
    path.write_bytes(path.read_bytes()[:99])  # a damaged one is not kept
    build_model(first, tmp_path)
    assert path.read_bytes() == before


def test_the_command_beside_an_archive_builds_it_again(quick: None, tmp_path: Path, flowers: list[str]) -> None:
    labels, store = tmp_path / "my labels.txt", tmp_path / "store"
    labels.write_text("daisy\nrose\n")
    given = ["--model", "flowers", "--weights", flowers[0], "--labels", str(labels), "--version", "2.0"]
    given += ["--crop", "192", "--resize", "200", "--mean", "0.5", "0.4", "0.3", "--model-store", str(store)]
    assert densenet("archive", *given, "--run-dir", str(tmp_path)).exit_code == 0
    path = store / "flowers-2.0.mar"
    before, card, command = path.read_bytes(), card_in(path), str(BuildCommand.read(path))
    assert (card["name"], card["classes"], card["quantization"]) == ("flowers", 2, None)
    assert [card["preprocessing"][key] for key in ("resize", "crop", "mean")] == [200, 192, [0.5, 0.4, 0.3]]
    path.unlink()
    program, *again = shlex.split(command)
    assert program == "densenet"
    assert densenet(*again, "--run-dir", str(tmp_path)).exit_code == 0
    assert path.read_bytes() == before
    assert str(BuildCommand.read(path)) == command


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"crop": 299}, "299.* --crop"),
        ({"crop": 31}, "--crop 31 .* 32 pixels"),
        ({"std": (0.2, 0.0, 0.2)}, "greater than 0.* --std"),
        ({"architecture": "resnet"}, "resnet: choose densenet121 or efficientnet_lite0"),
        ({"architecture": "efficientnet_lite0"}, "first.pth .* EfficientNet-Lite0"),
        ({"model": "efficientnet_lite0", "architecture": "densenet121"}, "name of its own"),
        ({"model": "resnet", "weights": "auto"}, "resnet: choose densenet121 or efficientnet_lite0.* --weights"),
        ({"labels": "LABELS"}, "labels.json names 1 classes"),
    ],
)
def test_options_that_cannot_be(tmp_path: Path, flowers: list[str], options: dict[str, Any], named: str) -> None:
    (tmp_path / "labels.json").write_text('{"0": ["a", "b"]}')
    if "labels" in options:
        options = {"labels": tmp_path / "labels.json"}
    with pytest.raises(CommandError, match=named):
        build_model(ModelSpec(**{"model": "flowers", "weights": flowers[0]} | options), tmp_path / "store")
    assert list((tmp_path / "store").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match=r"file .*--model-store"):
        build_model(ModelSpec(MODEL, "missing.pth"), tmp_path / "file")  # before the weights are looked for


def test_a_disk_without_room_for_an_archive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    checkpoint, disk, store = tmp_path / "weights.pth", tmp_path / "disk", tmp_path / "store"
    save_file({"weight": np.zeros(3_000_000, np.uint8)}, checkpoint)
    with small_disk(disk, 1) as mounted:
        if not mounted:
            pytest.skip("only root may mount a small file system")
        monkeypatch.setattr(tempfile, "tempdir", str(disk))
        with pytest.raises(CommandError, match=r"needs 30 MB, .* TMPDIR"):
            build_model(ModelSpec(MODEL, str(checkpoint)), store)
        assert not list(disk.iterdir())
    assert not list(store.iterdir())
