from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from densenet_serving.errors import CommandError
from densenet_serving.temporary import make_temporary

LONGEST = 180
WITHOUT = "its code cannot be loaded"


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that TMPDIR names."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "t"))
    (tmp_path / "t").mkdir()
    return tmp_path / "t"


def test_sockets_are_where_tmpdir_says(named: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_temporary("p-", LONGEST, without_code=WITHOUT)
    assert folder.parent == named
    assert folder.stat().st_mode & 0o777 == 0o700
    assert capsys.readouterr().err == ""


def missing(folder: Path, _: pytest.MonkeyPatch) -> None:
    folder.rmdir()


def not_writable(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(os, "access", lambda path, _: path != folder)


def noexec(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_flag=os.ST_NOEXEC if path == folder else 0))


def too_long(folder: Path, patch: pytest.MonkeyPatch) -> None:
    (deep := folder / ("ö" * 100)).mkdir()  # 100 letters, but 200 bytes
    patch.setenv("TMPDIR", str(deep))


@pytest.mark.parametrize(
    ("harm", "wrong"),
    [
        (missing, "is no folder"),
        (not_writable, "is not writable"),
        (noexec, "is mounted noexec"),
        (too_long, "is too long for a socket's path"),
    ],
)
def test_a_folder_that_will_not_do_is_passed_over_and_said(
    harm: Callable[[Path, pytest.MonkeyPatch], Any],
    wrong: str,
    named: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    harm(named, monkeypatch)
    folder = make_temporary("p-", LONGEST, without_code=WITHOUT)
    folder.rmdir()
    assert folder.parent == Path("/tmp")  # noqa: S108
    assert f"Temporary files are in /tmp: {os.environ['TMPDIR']} {wrong}" in capsys.readouterr().err


def test_the_last_place_and_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr(os, "access", lambda path, _: path == tmp_path)
    assert make_temporary("p-", LONGEST, last=tmp_path).parent == tmp_path
    monkeypatch.undo()
    with pytest.raises(CommandError, match=r"is too long .*TMPDIR"):
        make_temporary("p-", 5)


def test_only_folders_that_run_no_code(
    named: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_NOEXEC))
    assert make_temporary("p-", LONGEST).parent == named
    assert capsys.readouterr().err == ""
    assert make_temporary("p-", LONGEST, without_code=WITHOUT).parent == named
    assert capsys.readouterr().err == f"{named} is mounted noexec: {WITHOUT}.\n"
