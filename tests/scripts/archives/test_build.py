from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from handler.card import CARD_FILE
from handler.settings import Settings
from scripts import paths
from scripts.archives.build import build, build_model, check_labels, make_card
from scripts.archives.mar import Archive
from scripts.archives.model_store import file_name
from scripts.errors import CommandError, WeightsError
from scripts.model.networks import ARCHITECTURES
from scripts.model.weights import Checkpoint, stand_in
from scripts.options import MODEL
from tests.checkpoints import PROVENANCE, write_embedded
from tests.conftest import unpack
from tests.scripts.archives.archive_files import members

STAND_IN = ARCHITECTURES["efficientnet_lite0"]


@pytest.mark.parametrize(
    ("version", "name"), [("1.0", "efficientnet_lite0.mar"), ("2.1", "efficientnet_lite0-2.1.mar")]
)
def test_the_version_is_in_the_name(quick: None, tmp_path: Path, version: str, name: str) -> None:
    path = build(STAND_IN, stand_in(), paths.LABELS, tmp_path / "new" / "store", version)
    assert path == tmp_path / "new" / "store" / name
    assert path.name == file_name("efficientnet_lite0", version)
    archive = Archive.read(path)
    assert (archive.name, archive.version) == ("efficientnet_lite0", version)
    assert json.loads((unpack(path, tmp_path / "unpacked") / CARD_FILE).read_text())["version"] == version


def test_a_precision_of_its_own_is_the_only_setting_that_changes(quick: None, tmp_path: Path) -> None:
    build_model("efficientnet_lite0", tmp_path, precision="f32")
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
    build_model(MODEL, tmp_path, weights_from="embedded")

    said = json.loads(members(tmp_path / "densenet121.mar")[CARD_FILE])["weights"]
    assert said["accuracy"] == {"top1": 0.4321, "top5": 2 / 3, "evaluated_on": "eval.tar (1000 photographs)"}
    assert (said["temperature"], said["license"]) == (0.05, "MIT")
    assert "not the official one" in said["source"]
    assert "43.2 % top-1 and 66.7 % top-5 on eval.tar" in capsys.readouterr().err
    (model,) = exported
    for name in ("weight", "bias"):
        expected = weights[f"classifier.{name}"].float() / PROVENANCE.temperature
        torch.testing.assert_close(getattr(model.head, name).detach(), expected)


def test_an_unknown_model(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no architecture resnet: choose densenet121 or efficientnet_lite0"):
        build_model("resnet", tmp_path)


@pytest.mark.parametrize("version", ["", "../2", "2/0", "-1", "two words"])
def test_a_version_that_fits_no_address(tmp_path: Path, version: str) -> None:
    with pytest.raises(CommandError, match="cannot be part of an address"):
        build_model(MODEL, tmp_path, version=version)


def test_weights_of_another_architecture(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="not a checkpoint of DenseNet-121"):
        build_model(MODEL, tmp_path, weights_from=str(stand_in().path))
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


def test_a_checkpoint_is_what_the_card_repeats() -> None:
    checkpoint = Checkpoint(Path("a.pth"), "a source", "a licence", "ab")
    card = make_card(ARCHITECTURES["densenet121"], checkpoint, 7, "2.0")
    assert (card.weights.source, card.weights.license, card.weights.sha256) == ("a source", "a licence", "ab")
    assert (card.classes, card.version) == (7, "2.0")
