from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

from scripts.errors import CommandError
from scripts.space import check_space, unpacked_size


def test_room_enough(tmp_path: Path) -> None:
    check_space(tmp_path, shutil.disk_usage(tmp_path).free // 2, "It", "go elsewhere")


def test_too_little_room(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"It needs \d+ MB, and .* has \d+ MB left: make room, or go elsewhere\."):
        check_space(tmp_path, shutil.disk_usage(tmp_path).total * 2, "It", "go elsewhere")


def test_archives_count_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.mar", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(1_000_000))
        archive.writestr("more", b"12345")
    assert unpacked_size([tmp_path / "a.mar"] * 2) == 2_000_010
