from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from densenet_serving.errors import CommandError
from tests.pictures import encode, noise
from training import photos
from training.photos import LONGEST, SIDE, is_held_out, lay, list_photos, load, read, read_labelled


def pack(folder: Path, tar: Path) -> Path:
    with tarfile.open(tar, "w") as file:
        for path in sorted(folder.iterdir(), reverse=True):
            file.add(path, path.name)
    return tar


def test_a_folder_and_a_tar_of_it_give_the_same_photos_in_the_same_order(folder: Path, tmp_path: Path) -> None:
    from_folder = list(read(list_photos([folder])))
    assert len(from_folder) == 40
    assert list(read(list_photos([pack(folder, tmp_path / "photos.tar")]))) == from_folder


def test_several_sources_follow_each_other_and_other_files_are_left_out(tmp_path: Path) -> None:
    for name in ("a/deep/one.JPG", "a/notes.txt", "b/two.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    found = list(read(list_photos([tmp_path / "b", tmp_path / "a"])))
    assert found == [("two.png", b"b/two.png"), ("deep/one.JPG", b"a/deep/one.JPG")]


@pytest.mark.parametrize("name", ["missing", "empty", "photos.tar", "void.tar"])
def test_what_holds_no_photos_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "photos.tar").write_bytes(b"no tar")
    pack(tmp_path / "empty", tmp_path / "void.tar")
    for act in (lambda: list_photos([tmp_path / name]), lambda: load([tmp_path / name], tmp_path / "cache")):
        with pytest.raises(CommandError, match=name):
            act()


def test_what_cannot_be_read_is_left_out_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "photos" / name).write_bytes(bytes(600))
    cut = pack(tmp_path / "photos", tmp_path / "cut.tar")  # b, then a
    cut.write_bytes(cut.read_bytes()[: 1536 + 600])
    (tmp_path / "photos" / "gone.jpg").symlink_to("nowhere")
    assert [name for name, _ in read(list_photos([tmp_path / "photos", cut]))] == ["a.jpg", "b.jpg", "b.jpg"]
    said = capsys.readouterr().err
    assert "gone.jpg" in said
    assert "cut.tar" in said


def test_labels_are_the_names_and_another_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0281.jpg").write_bytes(b"cat")
    assert read_labelled(tmp_path) == [(281, b"cat")]
    (tmp_path / "cat.jpg").write_bytes(b"cat")
    with pytest.raises(CommandError, match=r"cat\.jpg"):
        read_labelled(tmp_path)


@pytest.mark.parametrize(
    ("size", "length", "transposed"),
    [
        ((SIDE, SIDE), SIDE, False),
        ((200, SIDE), 200, False),
        ((SIDE, 200), 200, True),
        ((640, 480), LONGEST, False),
        ((LONGEST + 100, SIDE), LONGEST, False),
        ((32, 400), LONGEST, True),
    ],
)
def test_a_photo_of_any_size_gets_the_stored_side(size: tuple[int, int], length: int, transposed: bool) -> None:
    photo = noise(*size)
    pixels, is_transposed = lay(photo)
    assert pixels.shape == (SIDE, length, 3)
    assert is_transposed is transposed
    if SIDE in size:  # nothing is scaled: a portrait is transposed, and a panorama loses both ends
        upright = np.asarray(photo).transpose(1, 0, 2) if transposed else np.asarray(photo)
        start = (upright.shape[1] - length) // 2
        np.testing.assert_array_equal(pixels, upright[:, start : start + length])


def test_sources_share_one_index_held_out_photos_are_left_out_and_all_are_decoded_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("x.png", "y.png"):
        (tmp_path / name).write_bytes(encode(noise(200, SIDE, seed=ord(name[0])), "PNG"))
    names = [path for path in sorted(folder.iterdir()) if not is_held_out(path.name)]
    load([folder, tmp_path], cache := tmp_path.with_name("cache"))
    monkeypatch.delattr(photos, "decode")
    found = load([folder, tmp_path], cache)
    assert len(found) == len(names) + 2
    for index, path in enumerate([*names, tmp_path / "x.png", tmp_path / "y.png"]):
        pixels, is_transposed = found.get(index)
        expected, transposed = lay(Image.open(path).convert("RGB"))
        assert is_transposed is transposed
        np.testing.assert_array_equal(pixels, expected)


def test_a_damaged_photo_is_left_out_and_counted_and_one_is_too_few(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("a.jpg", "b.jpg"):
        (source / name).write_bytes(encode(noise()))
    (source / "c.jpg").write_bytes(encode(noise())[:200])
    assert len(load([source], tmp_path / "cache")) == 2
    assert "1 damaged photo(s)" in capsys.readouterr().err
    (source / "b.jpg").unlink()
    with pytest.raises(CommandError, match="1 photo"):
        load([source], tmp_path / "cache")
