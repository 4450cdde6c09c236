from __future__ import annotations

import io
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from densenet_serving.client import sources
from densenet_serving.errors import CommandError
from densenet_serving.photo_files import LeftOut
from tests.local_server import LocalServer, Reply


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "deep").mkdir()
    for name in ("b.jpg", "a.PNG", "deep/c.webp", "notes.txt", "[odd].jpg"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def expand(folder: Path, *names: str) -> list[str]:
    given = (str(folder / name) if name != "-" and "//" not in name else name for name in names)
    found = sources.expand(given, LeftOut())
    return [name.removeprefix(f"{folder}/") for name in found]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["."], ["[odd].jpg", "a.PNG", "b.jpg", "deep/c.webp"]),
        (["*.jpg"], ["[odd].jpg", "b.jpg"]),
        (["**/*.webp"], ["deep/c.webp"]),
        (["*"], ["[odd].jpg", "a.PNG", "b.jpg"]),
        (["notes.txt"], ["notes.txt"]),
        (["[odd].jpg"], ["[odd].jpg"]),
        (["b.jpg", "-", "https://host/a?b=*"], ["b.jpg", "-", "https://host/a?b=*"]),
        (["missing.jpg"], ["missing.jpg"]),
    ],
)
def test_names_become_files(folder: Path, names: list[str], expected: list[str]) -> None:
    assert expand(folder, *names) == expected


@pytest.mark.parametrize(
    ("names", "left_out"),
    [(["."], ["notes.txt"]), (["*"], ["notes.txt"]), (["notes.txt", "b.jpg"], []), (["*.gif"], [])],
)
def test_files_that_are_left_out_are_told(folder: Path, names: list[str], left_out: list[str]) -> None:
    told = LeftOut()
    list(sources.expand([str(folder / name) for name in names], told))
    assert told.first == [str(folder / name) for name in left_out]
    assert told.count == len(left_out)


def test_a_folder_and_its_pattern_give_the_same_photos_through_links_and_loops(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(".")
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.jpg")
    pattern = [name.rpartition("/")[2] for name in expand(folder, "**/*.*")]
    assert sorted(pattern) == sorted(name.rpartition("/")[2] for name in expand(folder, "."))


@pytest.mark.parametrize("name", ["*.gif", "empty", "album [1]/missing.jpg"])
def test_what_holds_no_image_keeps_a_row_of_its_own(folder: Path, name: str) -> None:
    (folder / "empty").mkdir()
    assert expand(folder, name, "b.jpg") == [name, "b.jpg"]


def test_reading_a_file_and_standard_input(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"photo")))
    assert (sources.read(str(folder / "b.jpg")), sources.read("-")) == (b"b.jpg", b"photo")


@pytest.mark.parametrize(
    ("name", "fact"),
    [
        ("missing.jpg", "No such file"),
        ("empty", r"\.avif, \.bmp"),
        ("pipe.jpg", "a pipe or a device"),
        ("/dev/zero", "a pipe or a device"),
        ("sparse.jpg", "33,554,432 bytes"),
        ("-", "33,554,432 bytes"),
    ],
)
def test_what_cannot_be_read_or_is_too_large_for_any_server(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, fact: str
) -> None:
    (folder / "empty").mkdir()
    os.mkfifo(folder / "pipe.jpg")
    with (folder / "sparse.jpg").open("wb") as file:
        file.truncate(1 << 40)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(bytes(sources.MAX_BYTES + 1))))
    path = name if name == "-" else str(folder / name)
    with pytest.raises(CommandError, match=rf"{path} .*{fact}"):
        sources.read(path)


def test_an_address(local: LocalServer, nobody: str) -> None:
    local.on("GET /cat.jpg", Reply(body=b"photo" * 50_000))
    assert sources.read(f"{local.url}/cat.jpg") == b"photo" * 50_000
    local.on("GET /large.jpg", Reply(body=bytes(sources.MAX_BYTES + 1)))
    failures = {f"{local.url}/none.jpg": "Error", f"{nobody}/cat.jpg": "Error", f"{local.url}/large.jpg": "33,554,432"}
    for url, fact in failures.items():
        with pytest.raises(CommandError, match=rf"{url} .*{fact}"):
            sources.read(url)
