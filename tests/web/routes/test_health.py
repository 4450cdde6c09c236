from __future__ import annotations

import httpx
import pytest

from tests.web.conftest import TorchServe, check_error, loads

pytestmark = pytest.mark.anyio


async def test_health(front: httpx.AsyncClient, torchserve: TorchServe) -> None:
    assert loads(await front.get("/healthz")) == {"status": "Healthy"}
    assert loads(await front.get("/readyz")) == {"status": "Ready", "model": "densenet121"}

    torchserve.described = []
    check_error(await front.get("/readyz"), 503, "No worker of densenet121 is ready.")
    assert loads(await front.get("/healthz")) == {"status": "Healthy"}
