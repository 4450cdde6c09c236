from __future__ import annotations

from pathlib import Path

import pytest

from densenet_serving.cli.bulk import chosen_archive
from densenet_serving.errors import CommandError


def test_an_archive_by_its_name_in_the_model_store_or_by_its_path(tmp_path: Path) -> None:
    for name in ("flowers.mar", "birds-2.0.mar"):
        (tmp_path / name).touch()
    for given in ("flowers.mar", "flowers", str(tmp_path / "flowers.mar")):
        assert chosen_archive(given, tmp_path) == tmp_path / "flowers.mar"
    assert chosen_archive("birds-2.0", tmp_path) == tmp_path / "birds-2.0.mar"
    assert chosen_archive("elsewhere/own.mar", tmp_path) == Path("elsewhere/own.mar")
    for unclear in (None, "cats"):
        with pytest.raises(CommandError, match=r"birds-2.0.mar, flowers.mar.*--archive"):
            chosen_archive(unclear, tmp_path)
