"""The server that `python -m web` runs."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from densenet_serving.gateway.__main__ import log_config, options
from densenet_serving.gateway.settings import GatewaySettings
from tests.densenet_serving.gateway.conftest import GATEWAY

pytestmark = pytest.mark.anyio


async def client_seen(settings: GatewaySettings, address: str, forwarded: str) -> str:
    """Return the client's address as the application sees it."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(scope["client"][0])(scope, receive, send)

    config = uvicorn.Config(application, **options(settings))
    config.load()
    transport = httpx.ASGITransport(config.loaded_app, client=(address, 5))
    async with httpx.AsyncClient(transport=transport, base_url=GATEWAY) as client:
        return (await client.get("/", headers={"X-Forwarded-For": forwarded})).text


@pytest.mark.parametrize(
    ("proxies", "address", "forwarded", "client"),
    [
        ((), "127.0.0.1", "192.0.2.1", "127.0.0.1"),
        ((), "10.0.0.5", "192.0.2.1", "10.0.0.5"),
        (("10.0.0.5/32",), "127.0.0.1", "192.0.2.1", "127.0.0.1"),
        (("10.0.0.5/32",), "10.0.0.6", "192.0.2.1", "10.0.0.6"),
        (("10.0.0.5/32",), "10.0.0.5", "192.0.2.1", "192.0.2.1"),
        (("10.0.0.5/32",), "10.0.0.5", "192.0.2.9, 192.0.2.1", "192.0.2.1"),  # the proxy adds the last one
        (("10.0.0.0/8",), "10.0.0.5", "192.0.2.1, 10.0.0.6", "192.0.2.1"),
    ],
)
async def test_only_a_named_proxy_says_who_the_client_is(
    settings: GatewaySettings,
    monkeypatch: pytest.MonkeyPatch,
    proxies: tuple[str, ...],
    address: str,
    forwarded: str,
    client: str,
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    assert await client_seen(replace(settings, proxies=proxies), address, forwarded) == client


def test_lines_of_the_log_can_be_json() -> None:
    """In the foreground they go to stderr, which is the log of a container."""
    config = log_config(GatewaySettings(Path(), "m", foreground=True, json_logs=True))
    record = logging.LogRecord("a", logging.WARNING, "", 0, "b %s", ("c\nd",), None)
    line = config["formatters"]["line"]["()"]().format(record)
    assert {"level": "WARNING", "logger": "a", "message": "b c\nd"}.items() <= json.loads(line).items()
    assert "\n" not in line
