from __future__ import annotations

from dataclasses import replace

import httpx
import pytest

from tests.web.conftest import GATEWAY, TorchServe, check_error, client_of, loads
from web.app import create_app
from web.settings import GatewaySettings
from web.torchserve.upstream import Upstream

pytestmark = pytest.mark.anyio

STRANGER = "https://stranger.example"


@pytest.mark.parametrize(
    "origin", [STRANGER, "null", "", "http://127.0.0.1:9000", "http://127.0.0.1:8000.x", "http://["]
)
@pytest.mark.parametrize("path", ["/predict", "/explain", "/nothing"])
async def test_pages_of_other_origins_may_not_post(
    front: httpx.AsyncClient, torchserve: TorchServe, origin: str, path: str
) -> None:
    refused = await front.post(path, files={"file": b"cat"}, headers={"Origin": origin})

    check_error(refused, 403, "A page of another origin sent this")
    assert torchserve.asked == []


@pytest.mark.parametrize("headers", [{}, {"Origin": GATEWAY}, {"Origin": GATEWAY.replace("http", "https")}])
async def test_its_own_page_and_other_programs_may(front: httpx.AsyncClient, headers: dict[str, str]) -> None:
    """Behind a proxy that ends TLS the browser's origin is https."""
    loads(await front.post("/predict", files={"file": b"cat"}, headers=headers))


@pytest.mark.parametrize("named", [STRANGER, "*"])
async def test_so_may_pages_of_named_origins(upstream: Upstream, settings: GatewaySettings, named: str) -> None:
    async with client_of(create_app(upstream, replace(settings, cors_origins=(named,)))) as front:
        loads(await front.post("/predict", files={"file": b"cat"}, headers={"Origin": STRANGER}))
