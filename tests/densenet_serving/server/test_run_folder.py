from __future__ import annotations

import fcntl
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from densenet_serving.client.endpoint import KEY_FILE
from densenet_serving.errors import CommandError
from densenet_serving.server import run_folder
from densenet_serving.server.run_folder import LOCK_FILE, MODELS, UNPACKED, clear, make_unpacked, prepare, sole_command


def test_a_run_folder_is_left_only_with_something_in_it(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    with sole_command(run_dir):
        assert (run_dir / LOCK_FILE).exists()
    assert not run_dir.exists()
    (run_dir / "logs").mkdir(parents=True)
    with pytest.raises(ZeroDivisionError), sole_command(run_dir):
        _ = 1 / 0
    assert [path.name for path in run_dir.iterdir()] == ["logs"]


def test_a_second_command_says_so_and_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = threading.Event()
    order: list[str] = []

    def note(text: str) -> None:
        order.append(text)
        said.set()

    def second() -> None:
        with sole_command(tmp_path / "run"):
            order.append("second")

    monkeypatch.setattr(run_folder, "note", note)
    with sole_command(tmp_path / "run"):
        thread = threading.Thread(target=second)
        thread.start()
        assert said.wait(20)
        order.append("first")
    thread.join()
    assert str(tmp_path / "run") in order[0]
    assert order[1:] == ["first", "second"]


def test_a_folder_that_others_could_write_into_is_closed_and_cleared(tmp_path: Path) -> None:
    (tmp_path / UNPACKED / "left").mkdir(parents=True)
    (tmp_path / "logs").mkdir()
    for name in (KEY_FILE, "logs/old.log", "keys.json"):
        (tmp_path / name).touch()
    tmp_path.chmod(0o777)
    assert prepare(tmp_path) == tmp_path
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["keys.json", "logs"]


def test_models_are_unpacked_in_it_for_the_owner_alone(tmp_path: Path) -> None:
    folder = make_unpacked(tmp_path)
    assert folder == tmp_path / UNPACKED
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """A run folder whose path is too long for a socket, counted in bytes."""
    folder = tmp_path / ("é" * 50)
    folder.mkdir()
    return folder


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


def test_under_a_long_path_only_the_sockets_are_elsewhere(deep: Path, short: Path) -> None:
    folder = make_unpacked(deep)
    assert folder.parent == short
    (folder / MODELS / "m").mkdir()
    assert (deep / UNPACKED / "m").is_dir()
    clear(deep)
    assert list(deep.iterdir()) == list(short.iterdir()) == []


def test_a_link_to_any_other_folder_is_not_followed(deep: Path, short: Path) -> None:
    (short / "a file of somebody").touch()
    (deep / run_folder.SOCKETS).symlink_to(short)
    clear(deep)
    assert len(list(short.iterdir())) == 1
    assert list(deep.iterdir()) == []


def test_no_path_is_short_enough(deep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_folder, "LONGEST_FOLDER", 4)
    with pytest.raises(CommandError, match="TMPDIR"):
        make_unpacked(deep)
    assert list(deep.iterdir()) == []


def test_a_cleaner_finds_it_locked(tmp_path: Path) -> None:
    held = run_folder.hold(tmp_path)
    cleaner = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(BlockingIOError):
        fcntl.flock(cleaner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(held)
    fcntl.flock(cleaner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(cleaner)
