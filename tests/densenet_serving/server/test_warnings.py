from __future__ import annotations

import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from densenet_serving import paths, properties
from densenet_serving.build.archives import BuildCommand, file_of
from densenet_serving.files import digest_file
from densenet_serving.server import warnings
from densenet_serving.server.torchserve import Server
from densenet_serving.server.warnings import (
    warn_if_another_answers,
    warn_if_not_loaded,
    warn_if_stale,
    warn_if_unpinned,
)
from tests.densenet_serving.fake_client import as_client


@pytest.mark.parametrize(("age", "warned"), [(1, True), (-60, False)])
def test_an_archive_older_than_the_handler(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], age: int, warned: bool
) -> None:
    newest = max(path.stat().st_mtime for path in paths.handler_files())
    newest = max(newest, paths.LABELS.stat().st_mtime)
    path = tmp_path / "m.mar"
    path.touch()
    os.utime(path, (newest - age, newest - age))
    warn_if_stale([path])
    assert ("m.mar is older than the handler" in capsys.readouterr().err) == warned


@pytest.mark.parametrize("name", ["flowers.mar", "flowers-2.0.mar"])
def test_the_advice_is_the_archives_own_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    path = tmp_path / name
    path.touch()
    os.utime(path, (0, 0))
    BuildCommand.of({"model": "flowers", "weights": "/my flowers.pth", "version": "2.0"}, stand_in=False).write(path)
    warn_if_stale([path])
    command = "densenet archive --model flowers --weights '/my flowers.pth' --version 2.0"
    assert f"{name} is older than the handler or the labels here: {command} builds it again." in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"surprise": 1}'])
def test_an_archive_that_does_not_say_how_it_was_built(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    path = tmp_path / "m.mar"
    path.touch()
    os.utime(path, (0, 0))
    if content is not None:
        file_of(path).write_text(content)
    warn_if_stale([path])
    assert "with the --model, --weights, --labels and --version it was built with" in capsys.readouterr().err


@pytest.mark.parametrize("pinned", [True, False])
def test_an_archive_without_a_digest(tmp_path: Path, capsys: pytest.CaptureFixture[str], pinned: bool) -> None:
    path = tmp_path / "m.mar"
    path.touch()
    if pinned:
        digest_file(path).touch()
    warn_if_unpinned([path])
    assert ("sha256sum m.mar > m.mar.sha256 pins it" in capsys.readouterr().err) != pinned


def test_an_archive_the_server_has_not_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    warn_if_not_loaded(as_client({"a": "a.mar"}), [Path("a.mar"), Path("b.mar")])
    said = capsys.readouterr().err
    assert "b.mar is not loaded: densenet stop and densenet serve load it" in said
    assert "a.mar is" not in said


@pytest.mark.parametrize(
    ("loaded", "takes_models", "here", "said"),
    [
        (["1.0"], True, True, "still answers with flowers 1.0: type densenet models upgrade flowers-2.0.mar --run-dir"),
        (["2.0"], True, True, "still answers with flowers 2.0: type densenet stop --run-dir .*, then densenet serve"),
        (["1.0"], False, True, "still answers with flowers 1.0: type densenet stop"),
        ([], True, True, "does not serve flowers: type densenet models register flowers-2.0.mar"),
        (["1.0"], True, False, "still answers with flowers 1.0: it loads models from .*store; build it there with"),
    ],
)
def test_an_archive_built_beside_a_running_server(
    running: Server,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    loaded: list[str],
    takes_models: bool,
    here: bool,
    said: str,
) -> None:
    folder = running.endpoint.folder
    values = {"model_store": str(folder / "store"), "enable_model_api": str(takes_models).lower()}
    properties.write(running.settings, "Made by a test.", values)
    client = SimpleNamespace(versions=lambda _: [{"modelVersion": version} for version in loaded])
    monkeypatch.setattr(warnings, "Client", lambda _: client)
    warn_if_another_answers(folder, folder / ("store" if here else "other") / "flowers-2.0.mar", "flowers", "2.0")
    assert re.search(said, capsys.readouterr().err)


def test_an_archive_built_without_a_server_needs_no_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    warn_if_another_answers(tmp_path, tmp_path / "flowers.mar", "flowers", "1.0")
    assert capsys.readouterr().err == ""
