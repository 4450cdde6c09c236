from __future__ import annotations

import os
from pathlib import Path

import pytest

from scripts import paths
from scripts.archives.build_command import BuildCommand, file_of
from scripts.files import digest_file
from scripts.server.warnings import warn_if_not_loaded, warn_if_stale, warn_if_unpinned
from tests.scripts.fake_client import as_client


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
