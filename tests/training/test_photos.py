from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from scripts.errors import CommandError
from tests.pictures import encode, noise
from tests.training.support import CPU, SIDE
from training.files import is_held_out
from training.photos import lay, load

LONGEST = 43  # 4/3 of SIDE


@pytest.mark.parametrize(
    ("size", "length", "lying"),
    [
        ((32, 32), 32, False),
        ((40, 32), 40, False),
        ((32, 40), 40, True),
        ((320, 240), 43, False),
        ((32, 400), 43, True),
    ],
)
def test_a_photo_of_any_size_gets_the_shorter_side_and_portraits_lie(
    size: tuple[int, int], length: int, lying: bool
) -> None:
    pixels, lies = lay(noise(*size), SIDE, LONGEST)
    assert pixels.shape == (SIDE, length, 3)
    assert lies is lying


def test_a_portrait_is_transposed_and_a_long_photo_loses_both_ends() -> None:
    portrait = noise(32, 40)
    np.testing.assert_array_equal(lay(portrait, SIDE, LONGEST)[0], np.asarray(portrait).transpose(1, 0, 2))
    panorama = noise(143, 32)
    np.testing.assert_array_equal(lay(panorama, SIDE, LONGEST)[0], np.asarray(panorama)[:, 50:93])


def test_pixels_lengths_and_names_belong_together_and_held_out_photos_are_left_out(folder: Path) -> None:
    photos = load([folder], SIDE, CPU)
    names = [path.name for path in sorted(folder.iterdir()) if not is_held_out(path.name)]
    assert list(photos.names) == names
    assert photos.pixels.shape == (len(names), 3, SIDE, LONGEST)
    assert photos.pixels.dtype == torch.uint8
    for row, (name, length) in enumerate(zip(names, photos.lengths.int().tolist(), strict=True)):
        expected, lying = lay(Image.open(folder / name).convert("RGB"), SIDE, LONGEST)
        assert photos.lying[row] == lying
        np.testing.assert_array_equal(photos.pixels[row, :, :, :length].permute(1, 2, 0).numpy(), expected)
        assert not photos.pixels[row, :, :, length:].any()


def test_a_damaged_photo_is_left_out_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(encode(noise()))
    (tmp_path / "c.jpg").write_bytes(encode(noise())[:200])
    assert load([tmp_path], SIDE, CPU).names == ("a.jpg", "b.jpg")
    assert "1 damaged photo(s) were left out: c.jpg." in capsys.readouterr().err


def test_one_photo_is_too_few(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(encode(noise()))
    with pytest.raises(CommandError, match=r"1 photo.* can be trained on, and two are the least"):
        load([tmp_path], SIDE, CPU)


def test_other_photos_have_another_digest(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(encode(noise()))
    assert load([folder], SIDE, CPU).digest == load([folder], SIDE, CPU).digest
    assert load([folder, tmp_path], SIDE, CPU).digest != load([folder], SIDE, CPU).digest
