"""What a built archive holds. tests/test_package.py builds one elsewhere, equal to the byte."""

from __future__ import annotations

import json
import subprocess
from importlib.metadata import version as installed
from pathlib import Path
from types import SimpleNamespace

import pytest

from densenet_serving import paths
from densenet_serving.build.archives import MANIFEST, Archive
from densenet_serving.build.pack import CREATED_ON, publish, run_archiver
from densenet_serving.errors import CommandError
from densenet_serving.files import sha256_of
from handler.card import CARD_FILE
from handler.labels import LABELS_FILE
from tests.densenet_serving.build.archive_files import members, write_archive

MODULES = {str(path.relative_to(paths.HANDLER)) for path in paths.HANDLER.rglob("*.py")}


@pytest.fixture(scope="module")
def content(densenet_archive: Path) -> dict[str, bytes]:
    return members(densenet_archive)


def test_the_archive_holds_all_it_needs_as_it_is_and_nothing_else(content: dict[str, bytes]) -> None:
    package = {"classifier.py" if name == "classifier.py" else f"handler/{name}": name for name in MODULES}
    models = {"model.pt2", "model.xml", "head.npy", "model.bin"}
    assert set(content) == {*package, *models, MANIFEST, LABELS_FILE, CARD_FILE, "model-config.yaml"}
    assert content[LABELS_FILE] == paths.LABELS.read_bytes()
    for member, name in package.items():
        assert content[member] == (paths.HANDLER / name).read_bytes()


def test_the_card_and_the_manifest(densenet_archive: Path, content: dict[str, bytes], seeded_checkpoint: Path) -> None:
    manifest = json.loads(content[MANIFEST])
    assert (manifest["createdOn"], manifest["model"]["handler"]) == (CREATED_ON, "classifier.py")
    archive = Archive.read(densenet_archive)  # by its digest
    assert (archive.name, archive.version) == ("densenet121", "1.0")
    card = json.loads(content[CARD_FILE])
    assert (card["name"], card["architecture"], card["version"]) == ("densenet121", "DenseNet-121", "1.0")
    assert card["classes"] == 1000
    assert card["weights"]["source"] == "file seeded.pth"
    assert [card["weights"][name] for name in ("training", "accuracy", "temperature")] == [None] * 3
    assert card["weights"]["sha256"] == sha256_of(seeded_checkpoint)
    assert card["preprocessing"]["resize"] == 255
    assert card["built_with"]["torch"] == installed("torch")


def test_the_stand_in_never_calls_itself_densenet(stand_in_archive: Path) -> None:
    content = members(stand_in_archive)
    card = json.loads(content[CARD_FILE])
    assert (card["name"], card["architecture"]) == ("efficientnet_lite0", "EfficientNet-Lite0")
    assert card["preprocessing"]["interpolation"] == "bicubic"
    assert b"ensenet" not in content[CARD_FILE] + content[MANIFEST]


def test_a_store_that_fills_up_keeps_the_older_archive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    packed, target = write_archive(tmp_path / "packed"), tmp_path / "store" / "m.mar"
    target.parent.mkdir()
    target.write_text("old")
    monkeypatch.setattr("zipfile.ZipFile.writestr", full)
    with pytest.raises(CommandError, match=r"m.mar .*No space left on device.*--model-store"):
        publish(packed, target)
    assert [(path.name, path.read_text()) for path in target.parent.iterdir()] == [("m.mar", "old")]


@pytest.mark.parametrize(
    ("stderr", "said"), [("Traceback\nFileNotFoundError: no\n", "FileNotFoundError: no"), ("", "exit status 1")]
)
def test_an_archiver_that_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stderr: str, said: str) -> None:
    failed = SimpleNamespace(returncode=1, stderr=stderr, stdout="")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(CommandError, match=f"torch-model-archiver failed: {said}"):
        run_archiver("name", "1.0", tmp_path / "staged", tmp_path / "model-config.yaml")
