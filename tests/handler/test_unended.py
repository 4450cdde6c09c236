"""JPEGs whose last marker is missing, and those whose last pixels are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from handler.errors import BadRequest
from handler.images import decode
from tests.handler.images import DAMAGED, RESIZE, SETTINGS, refusal
from tests.pictures import encode, noise

KINDS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 3},
    "optimized": {"optimize": True, "subsampling": 0},
}
MODES = ("RGB", "L", "CMYK")


def jpeg(kind: str, mode: str = "RGB") -> bytes:
    return encode(noise(97, 61).convert(mode), "JPEG", **KINDS[kind])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", [b"", b"\xff", bytes(64)])
def test_without_its_last_marker_no_pixel_differs(kind: str, mode: str, end: bytes) -> None:
    whole = jpeg(kind, mode)
    one, other = (np.asarray(decode(data, SETTINGS, RESIZE)) for data in (whole, whole[:-2] + end))
    assert np.array_equal(one, other)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", [b"", bytes(64)])
def test_without_its_last_pixels_it_is_refused(kind: str, end: bytes) -> None:
    whole = jpeg(kind)
    for cut in (*range(4, 60), len(whole) // 5, len(whole) // 2):
        assert DAMAGED in refusal(whole[:-cut] + end, BadRequest)


@pytest.mark.parametrize("kind", KINDS)
def test_without_its_last_scans_it_is_refused(kind: str) -> None:
    whole = jpeg(kind)
    scans = [i for i in range(len(whole)) if whole.startswith(b"\xff\xda", i)]
    for start in scans:
        assert DAMAGED in refusal(whole[:start], BadRequest)
