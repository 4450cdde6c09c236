from __future__ import annotations

import locale
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from scripts.errors import CommandError
from scripts.server import environment
from scripts.server.environment import LONGEST_TEMPORARY, make_temporary, of_torchserve


@pytest.mark.parametrize("name", ["C", "xx_XX.UTF-8", None])
def test_torchserve_has_a_locale_in_which_every_path_has_a_name(
    name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = locale.setlocale(locale.LC_ALL)
    monkeypatch.delenv("LC_ALL", raising=False)
    if name:
        monkeypatch.setenv("LC_ALL", name)
    assert of_torchserve()["LC_ALL"] == "C.UTF-8"
    assert locale.setlocale(locale.LC_ALL) == before


def test_a_machine_without_such_a_locale_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "UTF8_LOCALES", ("xx_XX.UTF-8",))
    monkeypatch.setenv("LC_ALL", "C")
    assert of_torchserve()["LC_ALL"] == "C"


def test_what_would_change_what_torchserve_runs_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONPATH", "PYTHONWARNINGS", "PYTHONIOENCODING", "TS_CONFIG_FILE"):
        monkeypatch.setenv(name, "foreign")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    passed = of_torchserve()
    assert "foreign" not in passed.values()
    assert passed["OMP_NUM_THREADS"] == "1"


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that TMPDIR names."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "t"))
    monkeypatch.setattr(environment, "LONGEST_TEMPORARY", len(str(tmp_path)) + 40)
    (tmp_path / "t").mkdir()
    return tmp_path / "t"


def test_sockets_are_where_tmpdir_says(named: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_temporary(tmp_path)
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
    (deep := folder / ("ö" * 20)).mkdir()  # 20 letters, but 40 bytes
    patch.setenv("TMPDIR", str(deep))


@pytest.mark.parametrize(
    ("harm", "wrong"),
    [
        (missing, "is no folder"),
        (not_writable, "is not writable"),
        (noexec, "is mounted noexec, and the JVM loads native code from it"),
        (too_long, "has too long a path for a socket"),
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
    folder = make_temporary(named.parent)
    folder.rmdir()
    assert folder.parent == Path("/tmp")  # noqa: S108
    assert f"TorchServe's sockets are in /tmp: {os.environ['TMPDIR']} {wrong}." in capsys.readouterr().err


def test_no_folder_that_will_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(environment, "LONGEST_TEMPORARY", 5)
    with pytest.raises(CommandError, match=r"No folder will do .*/tmp has too long a path .*: set TMPDIR to one\."):
        make_temporary(tmp_path)


def test_the_longest_path_has_room_for_a_sockets_name() -> None:
    assert LONGEST_TEMPORARY + len("/.ts.sock.9000.stdout") < 108
