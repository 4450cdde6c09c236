"""Building an archive, and reading one's manifest."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from handler.card import CARD_FILE
from handler.settings import Settings
from scripts import archive, paths
from scripts.archive import MANIFEST, build, check_labels, file_name, read_manifest
from scripts.errors import CommandError, WeightsError
from scripts.model.networks import ARCHITECTURES
from scripts.model.weights import Checkpoint, stand_in
from tests.checkpoints import PROVENANCE, write_embedded
from tests.conftest import unpack
from tests.scripts.archive_files import members


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the export away, which takes most of a build's time."""
    from scripts.model import export

    def stub(_model: object, _side: int, folder: Path) -> None:
        (folder / "model.xml").write_text("<net/>")

    monkeypatch.setattr(export, "export", stub)


STAND_IN = ARCHITECTURES["efficientnet_lite0"]


@pytest.mark.parametrize(
    ("version", "name"), [("1.0", "efficientnet_lite0.mar"), ("2.1", "efficientnet_lite0-2.1.mar")]
)
def test_the_version_is_in_the_name(quick: None, tmp_path: Path, version: str, name: str) -> None:
    path = build(STAND_IN, stand_in(), paths.LABELS, tmp_path / "new" / "store", version)
    assert path == tmp_path / "new" / "store" / name
    assert path.name == file_name("efficientnet_lite0", version)
    assert read_manifest(path) == ("efficientnet_lite0", version)
    assert json.loads((unpack(path, tmp_path / "unpacked") / CARD_FILE).read_text())["version"] == version


def test_a_model_of_ones_own(quick: None, tmp_path: Path) -> None:
    import torch

    from scripts.model.vision import torchvision

    torch.save(torchvision.models.densenet121(num_classes=2).state_dict(), tmp_path / "own.pth")
    (tmp_path / "own.json").write_text('{"0": ["a", "cat"], "1": ["b", "dog"]}')
    archive.archive(
        weights_from=str(tmp_path / "own.pth"), labels=tmp_path / "own.json", model_store=tmp_path, version="3.0"
    )
    card = json.loads(members(tmp_path / "densenet121-3.0.mar")[CARD_FILE])
    assert card["classes"] == 2


def test_a_precision_of_its_own_is_the_only_setting_that_changes(quick: None, tmp_path: Path) -> None:
    archive.archive("efficientnet_lite0", model_store=tmp_path, precision="f32")
    built = yaml.safe_load(members(tmp_path / "efficientnet_lite0.mar")["model-config.yaml"])
    usual = yaml.safe_load((paths.HANDLER / "model-config.yaml").read_text())
    assert Settings.from_config(built).precision == "f32"
    built["handler"]["precision"] = usual["handler"]["precision"]
    assert built == usual


def test_an_embedded_checkpoint(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch
    from safetensors.torch import load_file

    from scripts.model import export
    from scripts.model.networks import ServingModel

    exported: list[ServingModel] = []
    monkeypatch.setattr(paths, "WEIGHTS", tmp_path)
    monkeypatch.setattr(export, "export", lambda model, *_: exported.append(model))
    weights = load_file(write_embedded(tmp_path))
    archive.archive(weights_from="embedded", model_store=tmp_path)

    said = json.loads(members(tmp_path / "densenet121.mar")[CARD_FILE])["weights"]
    assert said["accuracy"] == {"top1": 0.4321, "top5": 2 / 3, "evaluated_on": "eval.tar (1000 photographs)"}
    assert (said["temperature"], said["license"]) == (0.05, "MIT")
    assert "not the official one" in said["source"]
    assert "43.2 % top-1 and 66.7 % top-5 on eval.tar" in capsys.readouterr().err
    (model,) = exported
    for name in ("weight", "bias"):
        expected = weights[f"classifier.{name}"].float() / PROVENANCE.temperature
        torch.testing.assert_close(getattr(model.head, name).detach(), expected)


def test_an_unknown_model() -> None:
    with pytest.raises(CommandError, match="no architecture resnet: choose densenet121 or efficientnet_lite0"):
        archive.archive("resnet")


@pytest.mark.parametrize("version", ["", "../2", "2/0", "-1", "two words"])
def test_a_version_that_fits_no_address(version: str) -> None:
    with pytest.raises(CommandError, match="cannot be part of an address"):
        archive.archive(version=version)


def test_weights_of_another_architecture(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="not a checkpoint of DenseNet-121"):
        archive.archive(weights_from=str(stand_in().path), model_store=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "There is no labels file .*labels.json: name one with --labels"),
        ('{"0": ["a", "b"]}', "names 1 classes and the checkpoint has 3: give its own labels"),
        ("{", "must map"),
        ('["a", "b", "c"]', "must map"),
    ],
)
def test_labels_that_do_not_fit(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "labels.json").write_text(content)
    with pytest.raises(CommandError, match=message):
        check_labels(tmp_path / "labels.json", 3)


def test_wrong_labels_build_nothing(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text('{"0": ["a", "b"]}')
    with pytest.raises(CommandError, match="names 1 classes"):
        build(STAND_IN, stand_in(), tmp_path / "labels.json", tmp_path / "store")
    assert list((tmp_path / "store").iterdir()) == []


def test_a_store_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "store").touch()
    with pytest.raises(CommandError, match=r"store cannot be made \(.*\): choose another --model-store"):
        build(STAND_IN, stand_in(), paths.LABELS, tmp_path / "store")


def test_a_store_that_fills_up_keeps_the_older_archive(
    quick: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(source: Path, target: Path) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    (tmp_path / "efficientnet_lite0.mar").write_text("old")
    monkeypatch.setattr(shutil, "copyfile", full)
    (tmp_path / "built").mkdir()
    (tmp_path / "built" / "any").touch()
    with pytest.raises(CommandError, match=r"could not be written \(No space left on device\)"):
        archive.move_into(tmp_path / "built" / "any", tmp_path / "efficientnet_lite0.mar")
    files = [path for path in tmp_path.iterdir() if path.is_file()]
    assert [(path.name, path.read_text()) for path in files] == [("efficientnet_lite0.mar", "old")]


@pytest.mark.parametrize(
    ("stderr", "said"), [("Traceback\nFileNotFoundError: no\n", "FileNotFoundError: no"), ("", "exit status 1")]
)
def test_an_archiver_that_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stderr: str, said: str) -> None:
    def failing(*_: Any, **__: Any) -> SimpleNamespace:
        return SimpleNamespace(returncode=1, stderr=stderr, stdout="")

    monkeypatch.setattr(subprocess, "run", failing)
    with pytest.raises(CommandError, match=f"torch-model-archiver failed: {said}"):
        archive.run_archiver("name", "1.0", tmp_path, tmp_path / "model-config.yaml", tmp_path)


def test_a_missing_archive(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"There is no archive .*x.mar: build it"):
        read_manifest(tmp_path / "x.mar")


@pytest.mark.parametrize("content", [b"", b"no zip"])
def test_what_is_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.mar").write_bytes(content)
    with pytest.raises(CommandError, match=r"x.mar is not a model archive, or damaged: build it again"):
        read_manifest(tmp_path / "x.mar")


def test_a_damaged_member(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.mar", "w") as file:
        file.writestr(MANIFEST, json.dumps({"model": {"modelName": "m", "modelVersion": "1.0"}}))
        file.writestr("model.bin", b"weights")
    content = (tmp_path / "x.mar").read_bytes()
    (tmp_path / "x.mar").write_bytes(content.replace(b"weights", b"wEights"))
    with pytest.raises(CommandError, match="or damaged: build it again"):
        read_manifest(tmp_path / "x.mar")


@pytest.mark.parametrize("manifest", ["", "{}", "[]", '{"model": null}'])
def test_an_archive_with_a_strange_manifest(tmp_path: Path, manifest: str) -> None:
    with zipfile.ZipFile(tmp_path / "x.mar", "w") as file:
        file.writestr(MANIFEST, manifest)
    with pytest.raises(CommandError, match="is not a model archive"):
        read_manifest(tmp_path / "x.mar")


def test_a_checkpoint_is_what_the_card_repeats() -> None:
    checkpoint = Checkpoint(Path("a.pth"), "a source", "a licence", "ab")
    card = archive.make_card(ARCHITECTURES["densenet121"], checkpoint, 7, "2.0")
    assert (card.weights.source, card.weights.license, card.weights.sha256) == ("a source", "a licence", "ab")
    assert (card.classes, card.version) == (7, "2.0")
