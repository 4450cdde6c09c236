from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from densenet_serving.build import calibration
from densenet_serving.build.calibration import from_folder, from_packages
from densenet_serving.build.networks import ARCHITECTURES
from densenet_serving.errors import CommandError
from handler.preprocessing import preprocess
from tests.pictures import noise

SPEC = ARCHITECTURES["densenet121"].preprocessing


def write_photos(folder: Path, count: int) -> list[Image.Image]:
    (folder / "nested").mkdir()
    photos = [noise(seed=seed) for seed in range(count)]
    for number, photo in enumerate(photos):
        photo.save((folder if number % 2 else folder / "nested") / f"{number:04}.png")
    return photos


def test_no_photo_is_used_for_both_and_what_cannot_be_read_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = {preprocess(photo, SPEC).tobytes() for photo in write_photos(tmp_path, 5)}
    (tmp_path / "notes.txt").write_text("no photo")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    photos = from_folder(tmp_path, SPEC, least=4)
    assert photos.calibration.shape == (2, 224, 224, 3)
    assert photos.comparison.shape == (3, 224, 224, 3)
    assert {one.tobytes() for one in (*photos.calibration, *photos.comparison)} == expected
    assert photos.source == f"5 photos of {tmp_path.name}"
    said = capsys.readouterr().err
    assert "broken.jpg (The image" in said
    assert "gone.jpg (No such file or directory)" in said


def test_of_many_photos_the_same_part_is_taken_each_time(tmp_path: Path) -> None:
    write_photos(tmp_path, 12)
    first, second = (from_folder(tmp_path, SPEC, least=4, most=8) for _ in range(2))
    assert first.calibration.shape == (4, 224, 224, 3)
    np.testing.assert_array_equal(first.calibration, second.calibration)
    np.testing.assert_array_equal(first.comparison, second.comparison)


@pytest.mark.parametrize(("files", "different"), [(0, 0), (3, 3), (6, 1)])
def test_too_few_different_photos(tmp_path: Path, files: int, different: int) -> None:
    for number in range(files):
        noise(seed=0 if different == 1 else number).save(tmp_path / f"{number}.png")
    with pytest.raises(CommandError, match=f"4 different photos .*{tmp_path.name} holds {different}"):
        from_folder(tmp_path, SPEC, least=4)


def test_photos_of_packages_need_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    photos, again = (from_packages(SPEC, crops=60) for _ in range(2))  # four or more of each photo
    assert photos.calibration.shape == photos.comparison.shape == (60, 224, 224, 3)
    assert photos.calibration.dtype == np.uint8
    assert len({crop.tobytes() for crop in photos.calibration}) == 60
    np.testing.assert_array_equal(photos.calibration, again.calibration)
    np.testing.assert_array_equal(photos.comparison, again.comparison)
    monkeypatch.setattr(calibration, "PACKAGED", (("no_such_package", "", "photo.png"),))
    with pytest.raises(CommandError, match=r"no_such_package.*pip install"):
        from_packages(SPEC)
