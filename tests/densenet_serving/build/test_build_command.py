from __future__ import annotations

from pathlib import Path

import pytest

from densenet_serving.build.build_command import BuildCommand, file_of
from densenet_serving.build.mar import Archive
from densenet_serving.files import digest_file
from tests.densenet_serving.build.archive_files import write_archive
from tests.densenet_serving.refusals import refused

COMMAND = BuildCommand.of({"model": "m", "weights": "/a b.pth", "precision": None, "mean": (0.5, 0.4)}, stand_in=True)


def test_it_can_be_pasted_into_a_shell() -> None:
    assert str(COMMAND) == "densenet archive --model m --weights '/a b.pth' --mean 0.5 0.4"


def test_it_is_kept_beside_the_archive(tmp_path: Path) -> None:
    COMMAND.write(tmp_path / "m.mar")
    assert list(tmp_path.iterdir()) == [file_of(tmp_path / "m.mar")]
    assert BuildCommand.read(tmp_path / "m.mar") == COMMAND


@pytest.mark.parametrize("damage", ["missing", "cut short", "another digest", "no digest"])
def test_a_damaged_archive_is_built_again_from_its_own_weights(tmp_path: Path, damage: str) -> None:
    path = write_archive(tmp_path / "m.mar")
    BuildCommand.of({"model": "flowers"}, stand_in=False).write(path)
    match damage:
        case "missing":
            path.unlink()
        case "cut short":
            path.write_bytes(path.read_bytes()[:50])
        case "another digest":
            digest_file(path).write_text(f"{'0' * 64}  m.mar\n")
        case "no digest":
            digest_file(path).write_text("")
    with refused(path, "densenet archive --model flowers"):
        Archive.read(path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"surprise": 1}'])
def test_a_damaged_command_is_none(tmp_path: Path, content: str) -> None:
    file_of(tmp_path / "m.mar").write_text(content)
    assert BuildCommand.read(tmp_path / "m.mar") is None
