"""How many of our own modules a photo passes in the gateway."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import pytest

from densenet_serving import paths
from tests.densenet_serving.gateway.conftest import TorchServe, files, loads

pytestmark = pytest.mark.anyio

OURS = tuple(paths.ROOT / name for name in ("densenet_serving", "handler", "densenet_client.py"))
MOST = 24


async def modules_of(front: httpx.AsyncClient, path: str, **request: Any) -> set[str]:
    """Name the modules of which a function runs while one photo is answered, once the tokens are read."""
    seen: set[str] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            seen.add(frame.f_code.co_filename)

    loads(await front.post(path, **request))
    sys.setprofile(note)
    try:
        loads(await front.post(path, **request))
    finally:
        sys.setprofile(None)
    found = [Path(name) for name in seen]
    return {str(one.relative_to(paths.ROOT)) for one in found if any(one.is_relative_to(folder) for folder in OURS)}


@pytest.mark.parametrize("path", ["/predict", "/predict?top_k=5", "/explain?top_k=5"])
async def test_a_photo_passes_few_modules(front: httpx.AsyncClient, torchserve: TorchServe, path: str) -> None:
    passed = await modules_of(front, path, files=files(b"cat"))
    assert "densenet_serving/gateway/upstream.py" in passed
    assert len(passed) <= MOST
