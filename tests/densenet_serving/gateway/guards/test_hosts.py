from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from densenet_serving.errors import ServingError
from densenet_serving.gateway.app import create_app
from densenet_serving.gateway.guards.hosts import host_name, known_hosts
from densenet_serving.gateway.settings import GatewaySettings
from densenet_serving.gateway.torchserve.upstream import Upstream
from tests.densenet_serving.gateway.conftest import check_error, client_of

pytestmark = pytest.mark.anyio


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
