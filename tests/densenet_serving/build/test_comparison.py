from __future__ import annotations

import numpy as np
import pytest

from densenet_serving.build.comparison import compare

EXACT = np.linspace(0.3, 0.0, 8)[None].repeat(4, axis=0)
CHANGED = EXACT.copy()
CHANGED[0, 0], CHANGED[0, 7] = 0.0, 0.3  # of four photos one has another best class, from outside the first five


@pytest.mark.parametrize(
    ("changed", "cells"),
    [
        (EXACT, ["4", "100.0%", "100.0%", "0.000", "0.0000"]),
        (CHANGED, ["4", "75.0%", "75.0%", "0.300", "0.0750"]),
    ],
)
def test_answers_are_compared_photo_by_photo(changed: np.ndarray, cells: list[str]) -> None:
    assert compare(changed, EXACT).cells() == cells
