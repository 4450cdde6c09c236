from __future__ import annotations

import pytest

from training.recipe import FREE, LARGER, STAGES, Recipe

RECIPE = Recipe(views=1_000_000)


def test_the_stages_share_all_views() -> None:
    assert sum(stage.share for stage in STAGES) == pytest.approx(1)
    for number in range(len(STAGES)):
        start = RECIPE.starts_at(number)
        assert RECIPE.stage_at(start)[0] == number
        if start:
            assert RECIPE.stage_at(start - 1)[0] == number - 1
    assert RECIPE.stage_at(RECIPE.views) == (LARGER, 1.0)


def test_the_learning_rate_warms_up_in_each_stage_and_ends_at_zero() -> None:
    start = RECIPE.starts_at(FREE)
    assert RECIPE.learning_rate(start, 0) == pytest.approx(STAGES[FREE].first / 100, rel=1e-3)
    assert RECIPE.learning_rate(start, 100) == pytest.approx(STAGES[FREE].first, rel=1e-3)
    assert RECIPE.learning_rate(RECIPE.views, 10_000) == 0
