"""A pretrained model behind the real server gives photographs their true names."""

from __future__ import annotations

import pytest

from densenet_serving import paths
from tests.e2e.support import Inference, content_of
from tests.pictures import FITTING, SAMPLE_NAME


@pytest.mark.parametrize("name", FITTING)
def test_the_best_answer_fits_the_photo(inference: Inference, photos: dict[str, bytes], name: str) -> None:
    answer = content_of(inference(photos[name], headers={"Min-Probability": "0"}))

    assert answer["class_name"] in FITTING[name]


def test_the_sample_photo_gets_its_name(inference: Inference) -> None:
    assert content_of(inference(paths.SAMPLE_PHOTO.read_bytes()))["class_name"] == SAMPLE_NAME
