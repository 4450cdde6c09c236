from __future__ import annotations

import threading

import httpx
import pytest

from tests.web.conftest import CAT, TorchServe, check_error, client_of, files, loads
from web.app import create_app
from web.settings import GatewaySettings
from web.torchserve.upstream import Upstream

pytestmark = pytest.mark.anyio


async def test_health(front: httpx.AsyncClient, torchserve: TorchServe) -> None:
    assert loads(await front.get("/healthz")) == {"status": "Healthy"}
    assert loads(await front.get("/readyz")) == {
        "status": "Ready",
        "model": "densenet121",
        "workers": 1,
        "wanted": 2,
    }

    torchserve.described = []
    check_error(await front.get("/readyz"), 503, "No worker of densenet121 is ready.")
    assert loads(await front.get("/healthz")) == {"status": "Healthy"}


async def test_before_its_end_it_is_not_ready_and_still_answers(upstream: Upstream, settings: GatewaySettings) -> None:
    ending = threading.Event()
    async with client_of(create_app(upstream, settings, ending)) as front:
        assert loads(await front.get("/readyz"))
        ending.set()
        check_error(await front.get("/readyz"), 503, "The gateway ends soon: send requests to another one.")
        assert loads(await front.get("/healthz"))
        assert loads(await front.post("/predict", files=files(b"cat")))["class_name"] == CAT["class_name"]
