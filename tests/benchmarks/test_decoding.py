from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.decoding import Kind, enlarge, numbers, pixels_of
from densenet_serving.errors import CommandError
from handler.card import Preprocessing
from tests.pictures import encode, photo

SPEC = Preprocessing(20, 16, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CAT = encode(photo("chelsea"))


def test_an_enlarged_photo_can_be_scaled_and_has_the_same_grain_each_time() -> None:
    enlarged = enlarge(CAT, Kind(608, 8))
    with Image.open(io.BytesIO(enlarged)) as image:
        assert image.size == (912, 608)
    assert enlarged == enlarge(CAT, Kind(608, 8)) != enlarge(CAT, Kind(608, 0))


def test_both_decodes_see_the_same_photo(tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_bytes(CAT)
    exact, scaled = pixels_of([Kind(320, 8)], SPEC, str(tmp_path / "cat.jpg"))[0].astype(float)
    assert 0 < np.abs(exact - scaled).mean() < 3


def test_numbers() -> None:
    assert numbers("1024,2048") == [1024, 2048]
    with pytest.raises(CommandError, match="no list of whole numbers"):
        numbers("1024;2048")
