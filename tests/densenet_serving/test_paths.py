from __future__ import annotations

from pathlib import Path

import pytest

from densenet_serving import paths


def test_a_user_without_a_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse() -> Path:
        raise RuntimeError

    monkeypatch.setattr(paths, "DATA", tmp_path)
    monkeypatch.setattr(Path, "home", refuse)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    with pytest.raises(SystemExit, match="This user has no home folder: set HOME, or XDG_DATA_HOME"):
        paths.home_folder()
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert paths.home_folder() == Path("/data/densenet-serving")
