from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from densenet_serving.errors import CommandError
from densenet_serving.files import atomic_write, check_space, private_file


def test_room(tmp_path: Path) -> None:
    check_space(tmp_path, shutil.disk_usage(tmp_path).free // 2, "It", "go elsewhere")
    with pytest.raises(CommandError, match=r"It needs \d+ MB, and .* has \d+ MB left: make room, or go elsewhere\."):
        check_space(tmp_path, shutil.disk_usage(tmp_path).total * 2, "It", "go elsewhere")


@pytest.mark.parametrize("failure", [OSError("full"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_the_old_file_alone(tmp_path: Path, failure: BaseException) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def write_half() -> None:
        with atomic_write(path) as partial:
            partial.write_text("ne")
            raise failure

    with pytest.raises(type(failure)):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_replaced_in_one_step_and_two_writers_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with atomic_write(path) as first:
        with atomic_write(path) as second:
            first.write_text("first")
            second.write_text("second")
            assert path.read_text() == "old"
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_only_its_owner_may_read_it_whatever_was_there_before(tmp_path: Path) -> None:
    path = tmp_path / "console.log"
    path.write_text("old")
    path.chmod(0o644)
    with private_file(path) as file:
        file.write("new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o077 == 0
