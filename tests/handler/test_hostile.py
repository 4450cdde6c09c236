"""No file of tests/handler/hostile.py costs more than its limits of time and memory, or another photo."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from handler.decoding import Decoder
from handler.errors import RequestError
from handler.settings import Settings
from tests.errors import check_message
from tests.handler.hostile import FILES
from tests.handler.test_card import PREPROCESSING
from tests.pictures import encode, noise

SECONDS = 0.3
PHOTO = encode(noise(), "PNG")


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return Decoder(Settings(decode_seconds=SECONDS), PREPROCESSING, threads=1)


@pytest.mark.parametrize("name", FILES)
def test_no_file_costs_more_than_its_limits(decoder: Decoder, name: str) -> None:
    if name.startswith("heic") and find_spec("pillow_heif") is None:
        pytest.skip("pip install pillow-heif")
    build, statuses = FILES[name]
    [[image], [seconds]] = decoder.decode([[build()]])
    if isinstance(image, RequestError):
        assert image.status in statuses, image
        check_message(str(image))
    else:
        assert 200 in statuses
        assert image.shape == (224, 224, 3)
    assert seconds <= SECONDS + 0.1, "the kernel looks at its timers a few times a second"
    assert isinstance(decoder.decode([[PHOTO]]).images[0], np.ndarray)
