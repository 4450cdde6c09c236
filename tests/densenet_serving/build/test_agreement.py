from __future__ import annotations

import numpy as np

from densenet_serving.build.agreement import Agreement, compare


def test_the_same_answers_agree() -> None:
    same = np.eye(8)
    assert compare(same, same) == Agreement(8, 1, 1, 0, 0)
    assert compare(same, same).cells() == ["8", "100.0%", "100.0%", "0.000", "0.0000"]


def test_a_changed_answer_is_counted() -> None:
    exact = np.linspace(0.3, 0.0, 8)[None].repeat(4, axis=0)
    changed = exact.copy()
    changed[0, 0], changed[0, 7] = 0.0, 0.3  # of four photos one has another best class, from outside the first five
    assert compare(changed, exact).cells() == ["4", "75.0%", "75.0%", "0.300", "0.0750"]
