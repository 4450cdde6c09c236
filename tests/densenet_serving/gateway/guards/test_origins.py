from __future__ import annotations

from dataclasses import replace

import httpx
import pytest

from densenet_serving.gateway.app import create_app
from densenet_serving.gateway.settings import GatewaySettings
from densenet_serving.gateway.torchserve.upstream import Upstream
from tests.densenet_serving.gateway.conftest import GATEWAY, TorchServe, check_error, client_of, loads

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

    check_error(refused, 403, f"A page of the origin {origin!r} sent this to the host '127.0.0.1:8000'")
    assert torchserve.asked == []


@pytest.mark.parametrize("headers", [{}, {"Origin": GATEWAY}, {"Origin": GATEWAY.replace("http", "https")}])
async def test_its_own_page_and_other_programs_may(front: httpx.AsyncClient, headers: dict[str, str]) -> None:
    """Behind a proxy that ends TLS the browser's origin is https."""
    loads(await front.post("/predict", files={"file": b"cat"}, headers=headers))


@pytest.mark.parametrize("named", [STRANGER, "*"])
async def test_so_may_pages_of_named_origins(upstream: Upstream, settings: GatewaySettings, named: str) -> None:
    async with client_of(create_app(upstream, replace(settings, cors_origins=(named,)))) as front:
        loads(await front.post("/predict", files={"file": b"cat"}, headers={"Origin": STRANGER}))


NAMED = "photos.example"
PROXIED = "127.0.0.1:8000"  # what nginx's proxy_pass makes of the Host header


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [
        (f"https://{NAMED}", PROXIED, 200),
        (f"http://{NAMED}", PROXIED, 200),
        (f"https://{NAMED}:8443", NAMED, 200),
        (f"https://{NAMED.upper()}", f"{NAMED}:8000", 200),
        (f"https://{NAMED}.stranger.example", PROXIED, 403),
        (f"https://{NAMED}@stranger.example", PROXIED, 403),
        (f"https://stranger.{NAMED}", PROXIED, 403),
        ("https://a.b.example", PROXIED, 403),  # a name with a * may be another's
        ("https://a.b.example", "a.b.example", 200),
        ("http://10.0.0.7", PROXIED, 200),
        ("http://[fe80::1]:8080", PROXIED, 200),
        ("null", PROXIED, 403),
    ],
)
async def test_the_names_that_the_gateway_was_given_are_its_own_behind_a_proxy(
    upstream: Upstream, settings: GatewaySettings, origin: str, host: str, status: int
) -> None:
    settings = replace(settings, allowed_hosts=(NAMED, "*.b.example", "10.0.0.7", "[fe80::1]"))
    async with client_of(create_app(upstream, settings)) as front:
        answer = await front.post("/predict", files={"file": b"cat"}, headers={"Origin": origin, "Host": host})
    assert answer.status_code == status


async def test_with_a_star_other_origins_are_still_foreign(upstream: Upstream, settings: GatewaySettings) -> None:
    async with client_of(create_app(upstream, replace(settings, allowed_hosts=("*",)))) as front:
        check_error(
            await front.post("/predict", files={"file": b"cat"}, headers={"Origin": STRANGER}),
            403,
            "give densenet web --allowed-host stranger.example, and for a page of another site --cors-origin",
        )
