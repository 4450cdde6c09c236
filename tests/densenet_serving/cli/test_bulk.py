from __future__ import annotations

from pathlib import Path

import pytest

from densenet_serving.cli.bulk import chosen_archive
from densenet_serving.errors import CommandError


@pytest.fixture
def two(tmp_path: Path) -> Path:
    for name in ("flowers.mar", "birds-2.0.mar"):
        (tmp_path / name).touch()
    return tmp_path


def test_an_archive_by_its_name_in_the_model_store_or_by_its_path(two: Path) -> None:
    for given in ("flowers.mar", "flowers", str(two / "flowers.mar")):
        assert chosen_archive(given, two) == two / "flowers.mar"
    assert chosen_archive("birds-2.0", two) == two / "birds-2.0.mar"
    assert chosen_archive("elsewhere/own.mar", two) == Path("elsewhere/own.mar")


def test_every_name_that_a_refusal_lists_is_taken(two: Path) -> None:
    for given in (None, "cats"):
        with pytest.raises(CommandError, match=r"holds birds-2.0.mar, flowers.mar: .*--archive"):
            chosen_archive(given, two)
