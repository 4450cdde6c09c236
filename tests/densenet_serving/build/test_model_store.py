from __future__ import annotations

from pathlib import Path

import pytest

from densenet_serving.build.mar import Archive
from densenet_serving.build.model_store import archives_in, load_models, read_all
from densenet_serving.errors import CommandError
from tests.densenet_serving.build.archive_files import write_archive


def test_archives(tmp_path: Path) -> None:
    for name in ("b.mar", "a.mar", "c.zip", ".a.mar.partial"):
        (tmp_path / name).touch()
    assert [path.name for path in archives_in(tmp_path)] == ["a.mar", "b.mar"]


def test_only_checked_archives_are_loaded(tmp_path: Path) -> None:
    write_archive(tmp_path / "b.mar")
    write_archive(tmp_path / "a.mar")
    (tmp_path / "c.tar.gz").touch()
    (tmp_path / "folder").mkdir()
    assert load_models(read_all(tmp_path)) == "a.mar,b.mar"


@pytest.mark.parametrize(
    ("versions", "newest_first"),
    [
        (["1.0", "10.0", "2.0"], "10.0 2.0 1.0"),
        (["2.0", "2.0-rc1", "1.0", "2.0.post1", "2.0-rc10", "2.0-rc9"], "2.0.post1 2.0 2.0-rc10 2.0-rc9 2.0-rc1 1.0"),
        (["2026-11-09", "1.0", "2026-11-23", "2026-2-1"], "2026-11-23 2026-11-09 2026-2-1 1.0"),
    ],
)
def test_the_newest_version_is_loaded_first(tmp_path: Path, versions: list[str], newest_first: str) -> None:
    """TorchServe makes the first version of a model that it loads its default."""
    archives = [Archive.read(write_archive(tmp_path / f"m-{version}.mar", version)) for version in versions]
    assert load_models(archives) == ",".join(f"m-{version}.mar" for version in newest_first.split())


def test_another_models_versions_change_nothing(tmp_path: Path) -> None:
    made = [write_archive(tmp_path / f"m-{version}.mar", version) for version in ("2.0-rc1", "2.0")]
    made.append(write_archive(tmp_path / "other.mar", "as of today", "other"))
    assert load_models(map(Archive.read, made)) == "m-2.0.mar,m-2.0-rc1.mar,other.mar"


@pytest.mark.parametrize("name", ["a,b.mar", "a=b.mar"])
def test_a_name_that_load_models_would_split(tmp_path: Path, name: str) -> None:
    write_archive(tmp_path / name)
    with pytest.raises(CommandError, match="rename it"):
        load_models(read_all(tmp_path))
