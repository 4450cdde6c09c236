"""The hosts under which the gateway answers, and the origins whose pages may send to it."""

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
from tests.densenet_serving.gateway.conftest import GATEWAY, TorchServe, check_error, client_of

pytestmark = pytest.mark.anyio

STRANGER = "https://stranger.example"
NAMED = "photos.example"
PROXIED = "127.0.0.1:8000"  # what nginx's proxy_pass makes of the Host header


@pytest.mark.parametrize("path", ["/healthz", "/", "/predict", "/openapi.json"])
@pytest.mark.parametrize("host", ["stranger.example", "127.0.0.1.stranger.example", "localhost@stranger.example", ""])
async def test_another_host_is_refused(front: httpx.AsyncClient, path: str, host: str) -> None:
    """DNS rebinding: a page of stranger.example, whose name now points here, would read the answer."""
    check_error(await front.get(path, headers={"Host": host}), 400, "--allowed-host NAME adds one")


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
    with pytest.raises(ServingError, match=r"photos\.example\.org"):
        host_name(text)


@pytest.mark.parametrize(
    "origin", [STRANGER, "null", "", "http://127.0.0.1:9000", "http://127.0.0.1:8000.x", "http://["]
)
@pytest.mark.parametrize("path", ["/predict", "/explain", "/nothing"])
async def test_pages_of_other_origins_may_not_post(
    front: httpx.AsyncClient, torchserve: TorchServe, origin: str, path: str
) -> None:
    refused = await front.post(path, files={"file": b"cat"}, headers={"Origin": origin})

    check_error(refused, 403, f"origin {origin!r}")
    assert "'127.0.0.1:8000'" in refused.json()["message"]
    assert torchserve.asked == []


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        *((host, None, 200) for host in ("localhost", "LOCALHOST:8000", "127.0.0.1", "[::1]:8000", "10.0.0.8")),
        *((host, None, 200) for host in (NAMED, "a.b.example:80")),
        # Its own page, behind a proxy that ends TLS too.
        (PROXIED, GATEWAY, 200),
        (PROXIED, GATEWAY.replace("http", "https"), 200),
        # The names that the gateway was given are its own, behind a proxy too.
        (PROXIED, f"https://{NAMED}", 200),
        (PROXIED, f"http://{NAMED}", 200),
        (NAMED, f"https://{NAMED}:8443", 200),
        (f"{NAMED}:8000", f"https://{NAMED.upper()}", 200),
        ("a.b.example", "https://a.b.example", 200),
        (PROXIED, "http://10.0.0.7", 200),
        (PROXIED, "http://[fe80::1]:8080", 200),
        (PROXIED, f"https://{NAMED}.stranger.example", 403),
        (PROXIED, f"https://{NAMED}@stranger.example", 403),
        (PROXIED, f"https://stranger.{NAMED}", 403),
        (PROXIED, "https://a.b.example", 403),  # a name with a * may be another's
        (PROXIED, "null", 403),
    ],
)
async def test_its_own_names_may_post(
    upstream: Upstream, settings: GatewaySettings, host: str, origin: str | None, status: int
) -> None:
    settings = replace(settings, host="10.0.0.8", allowed_hosts=(NAMED, "*.b.example", "10.0.0.7", "[fe80::1]"))
    headers = {"Host": host} | ({"Origin": origin} if origin else {})
    async with client_of(create_app(upstream, settings)) as front:
        assert (await front.post("/predict", files={"file": b"cat"}, headers=headers)).status_code == status


@pytest.mark.parametrize("named", [STRANGER, "*"])
async def test_so_may_pages_of_named_origins(upstream: Upstream, settings: GatewaySettings, named: str) -> None:
    async with client_of(create_app(upstream, replace(settings, cors_origins=(named,)))) as front:
        answer = await front.post("/predict", files={"file": b"cat"}, headers={"Origin": STRANGER})
    assert answer.status_code == 200


async def test_with_a_star_every_host_is_known_and_other_origins_are_still_foreign(
    upstream: Upstream, settings: GatewaySettings
) -> None:
    async with client_of(create_app(upstream, replace(settings, allowed_hosts=("*",)))) as front:
        assert (await front.get("/healthz", headers={"Host": "anything.example"})).status_code == 200
        refused = await front.post("/predict", files={"file": b"cat"}, headers={"Origin": STRANGER})
    check_error(refused, 403, "--allowed-host stranger.example")
    assert "--cors-origin" in refused.json()["message"]
