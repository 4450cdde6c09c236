from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from tests.training.support import ColorTeacher, write_photos
from training import balance, photos
from training.teacher import Lesson


def test_rare_classes_are_drawn_more_often_and_not_without_end() -> None:
    classes = np.repeat([0, 1, 2], [900, 100, 1])
    found = balance.weights(classes, np.ones(1001, np.float32))
    by_class = found[[0, 900, 1000]]

    assert by_class[1] / by_class[0] == pytest.approx(3)
    assert by_class[2] == pytest.approx(balance.MOST * found.mean(), rel=0.05)


def test_what_the_teacher_knows_is_drawn_more_often() -> None:
    sure, unsure = balance.weights(np.zeros(2, int), np.array([1.0, 0.0], np.float32))
    assert sure / unsure == pytest.approx(5)


def test_the_teacher_is_asked_once(tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "photos", 6)
    asked: list[int] = []

    class Counting(ColorTeacher):
        def __call__(self, views: Tensor) -> Lesson:
            asked.append(len(views))
            return super().__call__(views)

    for _ in range(2):
        loaded = photos.load([folder], tmp_path / "cache")
        balance.balance(loaded, Counting(), tmp_path / "cache")
    assert asked == [len(loaded)]
    drawn = loaded.draw(1000, np.random.default_rng(0))
    assert set(drawn) == set(range(len(loaded)))
