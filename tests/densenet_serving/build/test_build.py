from __future__ import annotations

import json
import shlex
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
import yaml
from safetensors.numpy import save_file
from typer.testing import CliRunner

from densenet_serving import paths
from densenet_serving.build.build import build_model
from densenet_serving.build.build_command import BuildCommand
from densenet_serving.build.mar import Archive
from densenet_serving.build.model_store import file_name
from densenet_serving.build.networks import ARCHITECTURES
from densenet_serving.build.spec import ModelSpec
from densenet_serving.build.stage import make_card
from densenet_serving.build.weights import Checkpoint, stand_in
from densenet_serving.errors import CommandError, WeightsError
from densenet_serving.options import MODEL, STAND_IN
from handler.card import CARD_FILE
from handler.settings import Settings
from tests.checkpoints import PROVENANCE, few_layers, write_embedded
from tests.conftest import unpack
from tests.densenet_serving.build.archive_files import members, write_archive
from tests.disks import small_disk

pytestmark = pytest.mark.usefixtures("small_densenet")


@pytest.fixture(scope="module")
def flowers(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two checkpoints of two classes, which they name."""
    import torch

    from densenet_serving.build.vision import torchvision

    written = [tmp_path_factory.mktemp("flowers") / name for name in ("first.pth", "second.pth")]
    for path in written:
        with few_layers():
            weights = torchvision.models.densenet121(num_classes=2).state_dict()
        torch.save({"model_state_dict": weights, "class_to_idx": {"rose": 1, "daisy": 0}}, path)
    return written


@pytest.mark.parametrize(
    ("version", "name"), [("1.0", "efficientnet_lite0.mar"), ("2.1", "efficientnet_lite0-2.1.mar")]
)
def test_the_version_is_in_the_name(quick: None, tmp_path: Path, version: str, name: str) -> None:
    path = build_model(ModelSpec(STAND_IN, version=version), tmp_path / "new" / "store")
    assert path == tmp_path / "new" / "store" / name
    assert path.name == file_name("efficientnet_lite0", version)
    archive = Archive.read(path)
    assert (archive.name, archive.version) == ("efficientnet_lite0", version)
    assert json.loads((unpack(path, tmp_path / "unpacked") / CARD_FILE).read_text())["version"] == version


def test_a_precision_of_its_own_is_the_only_setting_that_changes(quick: None, tmp_path: Path) -> None:
    build_model(ModelSpec(STAND_IN, precision="f32"), tmp_path)
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

    from densenet_serving.build import export
    from densenet_serving.build.networks import ServingModel

    exported: list[ServingModel] = []
    monkeypatch.setattr(paths, "WEIGHTS", tmp_path)
    monkeypatch.setattr(export, "export", lambda model, *_: exported.append(model))
    weights = load_file(write_embedded(tmp_path))
    build_model(ModelSpec(MODEL, "embedded"), tmp_path)

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
    message = "no architecture resnet: choose densenet121 or efficientnet_lite0. .* name its checkpoint with --weights"
    with pytest.raises(CommandError, match=message):
        build_model(ModelSpec("resnet"), tmp_path)


@pytest.mark.parametrize("name", ["", "../2", "2/0", "-1", "two words", ".hidden", "a,b", "a=b"])
def test_a_name_that_fits_no_address(name: str) -> None:
    with pytest.raises(CommandError, match=r"The version .* cannot be part of an address"):
        ModelSpec(MODEL, version=name)
    with pytest.raises(CommandError, match=r"The model .* cannot be part of an address"):
        ModelSpec(name, "own.pth")


def test_another_model_is_not_overwritten_unasked(quick: None, tmp_path: Path, flowers: list[Path]) -> None:
    first, second = (str(path) for path in flowers)
    path = build_model(ModelSpec("flowers", first), tmp_path)
    before = path.read_bytes()
    build_model(ModelSpec("flowers", first), tmp_path)  # the same again
    assert path.read_bytes() == before
    message = r"holds another model \(flowers 1.0, weights from file first.pth\) and was kept: .* --overwrite"
    with pytest.raises(CommandError, match=message):
        build_model(ModelSpec("flowers", second), tmp_path)
    assert path.read_bytes() == before
    build_model(ModelSpec("flowers", second, version="2.0"), tmp_path)
    build_model(ModelSpec("flowers", second), tmp_path, overwrite=True)
    assert path.read_bytes() != before


def test_two_names_of_one_file_are_two_models(quick: None, tmp_path: Path, flowers: list[Path]) -> None:
    build_model(ModelSpec("flowers", str(flowers[0]), version="2.0"), tmp_path)
    with pytest.raises(CommandError, match=r"holds another model \(flowers 2.0"):
        build_model(ModelSpec("flowers-2.0", str(flowers[0])), tmp_path)


def test_an_archive_of_somebody_else_is_kept_and_a_damaged_one_is_not(
    quick: None, tmp_path: Path, flowers: list[Path]
) -> None:
    path = write_archive(tmp_path / "flowers.mar")
    with pytest.raises(CommandError, match=r"holds another model \(it has no model card\)"):
        build_model(ModelSpec("flowers", str(flowers[0])), tmp_path)
    path.write_bytes(path.read_bytes()[:99])
    build_model(ModelSpec("flowers", str(flowers[0])), tmp_path)
    assert Archive.read(path).name == "flowers"


def test_the_command_beside_an_archive_builds_it_again(quick: None, tmp_path: Path, flowers: list[Path]) -> None:
    from densenet_serving.cli.archive import archive

    labels = tmp_path / "my labels.txt"
    labels.write_text("daisy\nrose\n")
    app = typer.Typer()
    app.command()(archive)
    given = ["--model", "flowers", "--weights", str(flowers[0]), "--labels", str(labels), "--version", "2.0"]
    given += [
        "--crop",
        "192",
        "--resize",
        "200",
        "--mean",
        "0.5",
        "0.4",
        "0.3",
        "--model-store",
        str(tmp_path / "store"),
    ]
    assert CliRunner().invoke(app, given).exit_code == 0
    path = tmp_path / "store" / "flowers-2.0.mar"
    before = path.read_bytes()
    card = json.loads(members(path)[CARD_FILE])
    assert card["name"] == "flowers"
    assert [card["preprocessing"][key] for key in ("resize", "crop", "mean")] == [200, 192, [0.5, 0.4, 0.3]]
    command = str(BuildCommand.read(path))
    path.unlink()
    densenet, verb, *again = shlex.split(command)
    assert (densenet, verb) == ("densenet", "archive")
    assert CliRunner().invoke(app, again).exit_code == 0
    assert path.read_bytes() == before
    assert str(BuildCommand.read(path)) == command


def test_the_stand_ins_command_needs_no_file(quick: None, tmp_path: Path) -> None:
    command = BuildCommand.read(build_model(ModelSpec(STAND_IN), tmp_path, chosen=False))
    assert command is not None
    assert command.stand_in
    assert "--weights" not in command.arguments


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preprocessing": {"crop": 299}}, r"The crop \(299\) must be .* other values for --resize, --crop"),
        ({"preprocessing": {"crop": 31}}, "--crop 31 leaves no feature map: give at least 32 pixels"),
        ({"preprocessing": {"std": (0.2, 0.0, 0.2)}}, "Each std must be greater than 0"),
        ({"architecture": "resnet"}, "no architecture resnet: choose densenet121 or efficientnet_lite0"),
        ({"architecture": "efficientnet_lite0"}, "not a checkpoint of EfficientNet-Lite0"),
        ({"model": "efficientnet_lite0", "architecture": "densenet121"}, "give the model a name of its own"),
    ],
)
def test_options_that_cannot_be(tmp_path: Path, flowers: list[Path], options: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"model": "flowers", "weights": str(flowers[0])} | options
    with pytest.raises(CommandError, match=message):
        build_model(ModelSpec(**given), tmp_path)


def test_weights_of_another_architecture(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="not a checkpoint of DenseNet-121"):
        build_model(ModelSpec(MODEL, str(stand_in().path)), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_wrong_labels_build_nothing(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text('{"0": ["a", "b"]}')
    with pytest.raises(CommandError, match="names 1 classes"):
        build_model(ModelSpec(STAND_IN, labels=tmp_path / "labels.json"), tmp_path / "store")
    assert list((tmp_path / "store").iterdir()) == []


def test_a_store_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "store").touch()
    with pytest.raises(CommandError, match=r"store cannot be made \(.*\): choose another --model-store"):
        build_model(ModelSpec(MODEL, "missing.pth"), tmp_path / "store")  # told before the weights are looked for


def test_a_checkpoint_is_what_the_card_repeats() -> None:
    checkpoint = Checkpoint(Path("a.pth"), "a source", "a licence", "ab")
    card = make_card(ARCHITECTURES["densenet121"], checkpoint, 7, "2.0")
    assert (card.weights.source, card.weights.license, card.weights.sha256) == ("a source", "a licence", "ab")
    assert (card.classes, card.version) == (7, "2.0")


def test_a_disk_without_room_for_an_archive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    checkpoint, disk, store = tmp_path / "weights.pth", tmp_path / "disk", tmp_path / "store"
    save_file({"weight": np.zeros(3_000_000, np.uint8)}, checkpoint)
    with small_disk(disk, 1) as mounted:
        if not mounted:
            pytest.skip("only root may mount a small file system")
        monkeypatch.setattr(tempfile, "tempdir", str(disk))
        with pytest.raises(CommandError, match=r"^Building the archive needs 30 MB, .* or set TMPDIR"):
            build_model(ModelSpec(MODEL, str(checkpoint)), store)
        assert not list(disk.iterdir())
    assert not list(store.iterdir())
