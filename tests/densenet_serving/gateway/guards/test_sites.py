from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from densenet_serving.errors import ServingError
from densenet_serving.gateway.app import create_app
from densenet_serving.gateway.settings import GatewaySettings
from densenet_serving.gateway.sites import host_name, known_hosts
from densenet_serving.gateway.upstream import Upstream
from tests.densenet_serving.gateway.conftest import GATEWAY, TorchServe, check_error, client_of, loads

pytestmark = pytest.mark.anyio

STRANGER = "https://stranger.example"


@pytest.mark.parametrize("path", ["/healthz", "/", "/predict", "/openapi.json"])
@pytest.mark.parametrize("host", ["stranger.example", "127.0.0.1.stranger.example", "localhost@stranger.example", ""])
async def test_another_host_is_refused(front: httpx.AsyncClient, path: str, host: str) -> None:
    """DNS rebinding: a page of stranger.example, whose name now points here, would read the answer."""
    check_error(await front.get(path, headers={"Host": host}), 400, "--allowed-host NAME adds one")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "127.0.0.1", "[::1]:8000", "photos.example", "a.b.example:80", "10.0.0.7"]
)
async def test_its_own_hosts_are_known(upstream: Upstream, settings: GatewaySettings, host: str) -> None:
    settings = replace(settings, host="10.0.0.7", allowed_hosts=("photos.example", "*.b.example"))
    async with client_of(create_app(upstream, settings)) as front:
        assert (await front.get("/healthz", headers={"Host": host})).status_code == 200


async def test_with_a_star_every_host_is_known(upstream: Upstream, settings: GatewaySettings) -> None:
    async with client_of(create_app(upstream, replace(settings, allowed_hosts=("*",)))) as front:
        assert (await front.get("/healthz", headers={"Host": "anything.example"})).status_code == 200


def test_where_it_listens_on_every_address_those_of_this_machine_are_known(tmp_path: Path) -> None:
    names = known_hosts(GatewaySettings(tmp_path, "densenet121", host="0.0.0.0"))  # noqa: S104

    assert {"127.0.0.1", "localhost", socket.gethostname()} <= set(names)
    assert not {"0.0.0.0", "*", ""} & set(names)  # noqa: S104


@pytest.mark.parametrize(
    ("text", "name"),
    [("::1", "[::1]"), ("[FE80::1]", "[fe80::1]"), ("10.0.0.7", "10.0.0.7"), ("*.b.example", "*.b.example")],
)
def test_hosts_are_put_as_browsers_put_them(text: str, name: str) -> None:
    assert host_name(text) == name


@pytest.mark.parametrize("text", ["https://photos.example", "photos.example:8000", "a.*.example", "", "a b"])
def test_what_is_no_host(text: str) -> None:
    with pytest.raises(ServingError, match=r"is no host: write it as photos\.example\.org"):
        host_name(text)


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
