from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.bulk import photos
from benchmarks.bulk.photos import make_photos
from tests.pictures import encode, photo


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    (tmp_path / "coffee.jpg").write_bytes(encode(photo("coffee")))
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        tar.add(tmp_path / "coffee.jpg", "coffee.jpg")
    return tmp_path / "shard.tar"


def test_photos_have_the_sizes_and_come_again(tmp_path: Path, shard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "DISTINCT", 10)
    (tmp_path / "photos").mkdir()
    made = make_photos(12, tmp_path / "photos", shard)
    assert sorted((tmp_path / "photos").iterdir()) == made
    assert [size_of(path) for path in made[:10]] == list(photos.SIZES)
    assert [path.read_bytes() for path in made[10:]] == [path.read_bytes() for path in made[:2]]


def size_of(path: Path) -> str:
    with Image.open(path) as image:
        return f"{image.width}x{image.height}"
