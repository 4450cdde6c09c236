from __future__ import annotations

from scripts import paths


def test_what_is_in_the_repository_is_there() -> None:
    assert paths.SAMPLE_PHOTO.is_file()
    assert paths.LABELS.is_file()
    assert paths.SERVER_CONFIG.is_file()
    assert (paths.HANDLER / "classifier.py").is_file()
    assert (paths.ROOT / "pyproject.toml").is_file()
