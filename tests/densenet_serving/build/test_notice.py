from __future__ import annotations

from typing import Any

import pytest

from densenet_serving.build import notice
from handler.card import Accuracy, Weights

WEIGHTS = Weights("a student", "ab", "MIT", "on photos", Accuracy(0.41234, 2 / 3, "eval.tar"), 1.2)


def test_one_sentence_with_the_figures_and_the_way_to_better_ones() -> None:
    assert notice.of_weights(WEIGHTS) == (
        "The weights are a student: 41.2 % top-1 and 66.7 % top-5 on eval.tar; densenet archive --weights official "
        "--overwrite, densenet stop and densenet serve bring torchvision's official ones if there is a network."
    )


def test_nothing_is_said_of_weights_that_make_no_claim() -> None:
    assert notice.of_weights(Weights("torchvision", "ab", "BSD-3-Clause")) is None


@pytest.mark.parametrize(
    "description",
    [
        {},
        {"customizedMetadata": None},
        {"customizedMetadata": "a text of somebody else's"},
        {"customizedMetadata": {"weights": [1, 2]}},
        {"customizedMetadata": {"weights": {"source": "a", "sha256": "b", "license": "c"}}},
    ],
)
def test_nothing_is_said_of_other_peoples_models_and_older_archives(description: dict[str, Any]) -> None:
    assert notice.of_description(description) is None
