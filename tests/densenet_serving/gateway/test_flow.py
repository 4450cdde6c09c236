"""How many of our own modules a photo passes in the gateway."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType

import httpx
import pytest

from densenet_serving import paths
from tests.densenet_serving.gateway.conftest import files, loads

pytestmark = pytest.mark.anyio

OURS = tuple(paths.ROOT / name for name in ("densenet_serving", "handler", "densenet_client.py"))
MOST = 24


@pytest.mark.parametrize("path", ["/predict", "/predict?top_k=5", "/explain?top_k=5"])
async def test_a_photo_passes_few_modules(front: httpx.AsyncClient, path: str) -> None:
    """Of our modules of which a function runs while one photo is answered, once the tokens are read."""
    seen: set[str] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            seen.add(frame.f_code.co_filename)

    loads(await front.post(path, files=files(b"cat")))
    sys.setprofile(note)
    try:
        loads(await front.post(path, files=files(b"cat")))
    finally:
        sys.setprofile(None)
    passed = {name for name in map(Path, seen) if any(name.is_relative_to(folder) for folder in OURS)}
    assert paths.ROOT / "densenet_serving/gateway/upstream.py" in passed
    assert len(passed) <= MOST
