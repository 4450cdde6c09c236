from __future__ import annotations

from pathlib import Path

import pytest

from densenet_serving import paths


def test_what_is_in_the_repository_is_there() -> None:
    assert paths.SAMPLE_PHOTO.is_file()
    assert paths.LABELS.is_file()
    assert paths.SERVER_CONFIG.is_file()
    assert (paths.HANDLER / "classifier.py").is_file()
    assert (paths.ROOT / "pyproject.toml").is_file()


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
