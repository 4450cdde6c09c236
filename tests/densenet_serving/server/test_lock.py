from __future__ import annotations

import threading
from pathlib import Path

import pytest

from densenet_serving.server import lock
from densenet_serving.server.lock import LOCK_FILE, sole_command


def test_nothing_is_left_of_it(tmp_path: Path) -> None:
    with sole_command(tmp_path / "run"):
        assert (tmp_path / "run" / LOCK_FILE).exists()
    assert not (tmp_path / "run").exists()


def test_a_folder_with_something_in_it_stays(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    with pytest.raises(ZeroDivisionError), sole_command(tmp_path):
        _ = 1 / 0
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]


def test_the_second_says_so_and_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = threading.Event()
    order: list[str] = []

    def note(text: str) -> None:
        order.append(text)
        said.set()

    monkeypatch.setattr(lock, "note", note)

    def second() -> None:
        with sole_command(tmp_path / "run"):
            order.append("second")

    with sole_command(tmp_path / "run"):
        thread = threading.Thread(target=second)
        thread.start()
        assert said.wait(20)
        order.append("first")
    thread.join()
    assert order[1:] == ["first", "second"]
    assert "Another densenet command" in order[0]
