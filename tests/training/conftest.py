from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.support import simplify, write_photos


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty small photos."""
    return write_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where their decoded pixels are."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands with a student and a teacher that are small enough for seconds."""
    simplify(monkeypatch)
