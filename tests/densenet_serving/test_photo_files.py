"""What classify, bulk, calibration and training find in folders as people have them."""

from __future__ import annotations

import io
import os
import socket
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from densenet_serving.photo_files import SUFFIXES, LeftOut, photos_in, photos_in_tar

RAW = os.fsdecode(b"caf\xe9.jpg")


def make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode(errors="surrogateescape"))


def found(folder: Path) -> list[str]:
    return [name.removeprefix(f"{folder}/") for name in photos_in(str(folder), LeftOut())]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with a photo, beside one on another disk with a photo of its own."""
    make(tmp_path, "photos/b.jpg", "disk/deep/a.png")
    return tmp_path / "photos"


@pytest.mark.parametrize(
    ("links", "expected"),
    [
        ({"photos/2024": "../disk"}, ["2024/deep/a.png", "b.jpg"]),
        ({"photos/2024": "../disk", "photos/again": "../disk"}, ["2024/deep/a.png", "b.jpg"]),
        ({"photos/loop": "."}, ["b.jpg"]),
        ({"photos/2024": "../disk", "disk/back": "../photos"}, ["2024/deep/a.png", "b.jpg"]),
        ({"photos/one.jpg": "b.jpg"}, ["b.jpg", "one.jpg"]),
        ({"photos/gone.jpg": "nowhere"}, ["b.jpg", "gone.jpg"]),
        ({"photos/unmounted": "/mnt/nowhere"}, ["b.jpg", "unmounted"]),
        ({"photos/notes.txt": "nowhere"}, ["b.jpg"]),
        ({"photos/itself.jpg": "itself.jpg"}, ["b.jpg", "itself.jpg"]),
    ],
)
def test_links(photos: Path, links: dict[str, str], expected: list[str]) -> None:
    for name, target in links.items():
        (photos.parent / name).symlink_to(target)
    assert found(photos) == expected


def test_every_format_that_the_handler_reads_is_found(photos: Path) -> None:
    names = sorted(name for suffix in SUFFIXES for name in (f"one{suffix}", f"TWO{suffix.upper()}"))
    make(photos, "notes.txt", *names)
    assert found(photos) == sorted(["b.jpg", *names])


def test_odd_files_beside_photos(photos: Path) -> None:
    """A name that is not UTF-8 is a photo's. What macOS leaves beside one, a pipe and a socket are none."""
    make(photos, "._b.jpg", RAW)
    os.mkfifo(photos / "pipe.jpg")
    left_out = LeftOut()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(photos / "s.jpg"))
        assert list(photos_in(str(photos), left_out)) == [str(photos / "b.jpg"), str(photos / RAW)]
    assert f"{photos}/._b.jpg" in str(left_out)


def test_a_folder_that_cannot_be_listed_is_named(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(photos, "locked/c.jpg")
    scandir = os.scandir

    def refusing(path: str) -> Any:
        if path.endswith("locked"):
            raise PermissionError
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    assert found(photos) == ["b.jpg", "locked"]


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "shard.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("one.jpg", "one.cls", "._one.jpg", "two.jpg"):
            member = tarfile.TarInfo(name)
            member.size = 600
            tar.addfile(member, io.BytesIO(bytes(600)))
    return path


def members(path: Path) -> Iterator[str]:
    with tarfile.open(path) as tar:
        for member in photos_in_tar(tar):
            yield member.name


@pytest.mark.parametrize(
    ("length", "before"),
    [(3 * 1536 + 512 + 10, ["one.jpg", "two.jpg"]), (3 * 1536 + 100, ["one.jpg"]), (2 * 1536 + 600, ["one.jpg"])],
    ids=["in the last photo", "in a header", "in what is no photo"],
)
def test_a_shard_that_is_cut_short_or_damaged_is_told(shard: Path, length: int, before: list[str]) -> None:
    whole = shard.read_bytes()
    assert list(members(shard)) == ["one.jpg", "two.jpg"]
    shard.write_bytes(whole[:length])
    listed = members(shard)
    assert [next(listed) for _ in before] == before
    with pytest.raises(tarfile.TarError):
        next(listed)
    shard.write_bytes(whole[:1536] + b"x" * 100 + whole[1636:])
    with pytest.raises(tarfile.TarError, match="byte 1,536"):
        list(members(shard))
