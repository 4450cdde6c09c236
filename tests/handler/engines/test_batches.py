from __future__ import annotations

import numpy as np
import pytest

from handler.engines.batches import FIXED_SIZES, MAX_BATCH, padded_size, slices


@pytest.mark.parametrize(
    ("rows", "expected"), [(0, []), (1, [1]), (MAX_BATCH, [MAX_BATCH]), (2 * MAX_BATCH + 1, [MAX_BATCH, MAX_BATCH, 1])]
)
def test_slices(rows: int, expected: list[int]) -> None:
    assert [len(part) for part in slices(np.zeros((rows, 1, 1, 3), np.uint8))] == expected


@pytest.mark.parametrize(
    ("rows", "size"), [(1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (8, 8), (9, 16), (16, 16), (17, 32), (32, 32)]
)
def test_padded_size(rows: int, size: int) -> None:
    assert padded_size(rows) == size


def test_every_slice_has_a_size() -> None:
    assert {padded_size(rows) for rows in range(1, MAX_BATCH + 1)} == set(FIXED_SIZES)
