from __future__ import annotations

from pathlib import Path

from scripts.private import private_file


def test_only_its_owner_may_read_it_whatever_was_there_before(tmp_path: Path) -> None:
    path = tmp_path / "console.log"
    path.write_text("old")
    path.chmod(0o644)
    with private_file(path) as file:
        file.write("new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o077 == 0
