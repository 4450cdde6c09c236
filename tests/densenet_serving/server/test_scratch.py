from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path

import pytest

from densenet_serving.errors import CommandError
from densenet_serving.server import scratch


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """A run folder whose path is too long for a socket, counted in bytes."""
    folder = tmp_path / ("é" * 50)
    folder.mkdir()
    return folder


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def test_it_is_in_the_run_folder_and_for_the_owner_alone(tmp_path: Path) -> None:
    (tmp_path / scratch.NAME / "left").mkdir(parents=True)
    folder = scratch.make(tmp_path)
    assert folder == tmp_path / scratch.NAME
    assert folder.stat().st_mode & 0o777 == 0o700
    assert list(folder.iterdir()) == []


def test_under_a_long_path_only_the_sockets_are_elsewhere(deep: Path, short: Path) -> None:
    folder = scratch.make(deep)
    assert folder.parent == short
    (folder / scratch.MODELS / "m").mkdir()
    assert (deep / scratch.NAME / "m").is_dir()
    scratch.remove(folder, deep)
    assert list(deep.iterdir()) == list(short.iterdir()) == []
    short.rmdir()


def test_no_path_is_short_enough(deep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "LONGEST_FOLDER", 4)
    with pytest.raises(CommandError, match="too long for a socket's path"):
        scratch.make(deep)
    assert list(deep.iterdir()) == []


def test_a_cleaner_finds_it_locked(tmp_path: Path) -> None:
    held = scratch.hold(tmp_path)
    cleaner = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(BlockingIOError):
        fcntl.flock(cleaner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(held)
    fcntl.flock(cleaner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(cleaner)
