from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from densenet_serving.errors import CommandError
from tests.pictures import encode, noise
from training import photos
from training.files import is_held_out
from training.photos import LONGEST, SIDE, lay, load


@pytest.mark.parametrize(
    ("size", "length", "transposed"),
    [
        ((SIDE, SIDE), SIDE, False),
        ((200, SIDE), 200, False),
        ((SIDE, 200), 200, True),
        ((640, 480), LONGEST, False),
        ((32, 400), LONGEST, True),
    ],
)
def test_a_photo_of_any_size_gets_the_stored_side(size: tuple[int, int], length: int, transposed: bool) -> None:
    pixels, is_transposed = lay(noise(*size))
    assert pixels.shape == (SIDE, length, 3)
    assert is_transposed is transposed


def test_a_portrait_is_transposed_and_a_panorama_loses_both_ends() -> None:
    portrait = noise(SIDE, 200)
    np.testing.assert_array_equal(lay(portrait)[0], np.asarray(portrait).transpose(1, 0, 2))
    panorama = noise(LONGEST + 100, SIDE)
    np.testing.assert_array_equal(lay(panorama)[0], np.asarray(panorama)[:, 50 : 50 + LONGEST])


def test_sources_share_one_index_and_held_out_photos_are_left_out(folder: Path, tmp_path: Path) -> None:
    for name in ("x.png", "y.png"):
        (tmp_path / name).write_bytes(encode(noise(200, SIDE, seed=ord(name[0])), "PNG"))
    names = [path for path in sorted(folder.iterdir()) if not is_held_out(path.name)]
    found = load([folder, tmp_path], tmp_path / "cache")
    assert len(found) == len(names) + 2
    for index, path in enumerate([*names, tmp_path / "x.png", tmp_path / "y.png"]):
        pixels, is_transposed = found.get(index)
        expected, transposed = lay(Image.open(path).convert("RGB"))
        assert is_transposed is transposed
        np.testing.assert_array_equal(pixels, expected)


def test_photos_are_decoded_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load([folder], tmp_path)
    monkeypatch.delattr(photos, "decoded_or_none")
    second = load([folder], tmp_path)
    np.testing.assert_array_equal(first.get(3)[0], second.get(3)[0])


def test_a_damaged_photo_is_left_out_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("a.jpg", "b.jpg"):
        (source / name).write_bytes(encode(noise()))
    (source / "c.jpg").write_bytes(encode(noise())[:200])
    assert len(load([source], tmp_path / "cache")) == 2
    assert "1 damaged photo(s)" in capsys.readouterr().err


def test_too_few_photos_and_a_missing_source_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(encode(noise()))
    with pytest.raises(CommandError, match="two are the least"):
        load([tmp_path], tmp_path / "cache")
    with pytest.raises(CommandError, match="There is no folder or file"):
        load([tmp_path / "nowhere"], tmp_path / "cache")
