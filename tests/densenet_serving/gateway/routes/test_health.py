from __future__ import annotations

import threading

import httpx
import pytest
from fastapi import FastAPI

from densenet_serving.gateway.app import create_app
from densenet_serving.gateway.settings import GatewaySettings
from densenet_serving.gateway.torchserve.upstream import Upstream
from tests.densenet_serving.gateway.conftest import CAT, GATEWAY, TorchServe, check_error, client_of, files, loads

pytestmark = pytest.mark.anyio


async def test_health(front: httpx.AsyncClient, torchserve: TorchServe) -> None:
    assert loads(await front.get("/healthz")) == {"status": "Healthy"}
    assert loads(await front.get("/readyz")) == {
        "status": "Ready",
        "model": "densenet121",
        "workers": 1,
        "wanted": 2,
    }


async def test_without_workers_it_is_not_ready(front: httpx.AsyncClient, torchserve: TorchServe) -> None:
    torchserve.described = []
    check_error(await front.get("/readyz"), 503, "No worker of densenet121 is ready.")
    assert loads(await front.get("/healthz")) == {"status": "Healthy"}


async def test_prometheus_on_this_machine_counts_the_workers(front: httpx.AsyncClient) -> None:
    response = await front.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'gateway_workers_ready{model_name="densenet121"} 1\n' in response.text
    assert 'gateway_workers_wanted{model_name="densenet121"} 2\n' in response.text


async def test_metrics_are_not_for_others(app: FastAPI) -> None:
    transport = httpx.ASGITransport(app, client=("192.0.2.1", 5))
    async with httpx.AsyncClient(transport=transport, base_url=GATEWAY) as stranger:
        check_error(await stranger.get("/metrics"), 403, "Metrics are for this machine alone.")


async def test_metrics_are_not_for_who_comes_through_a_proxy_on_this_machine(front: httpx.AsyncClient) -> None:
    headers = {"X-Forwarded-For": "192.0.2.1"}
    check_error(await front.get("/metrics", headers=headers), 403, "Metrics are for this machine alone.")


async def test_before_its_end_it_is_not_ready_and_still_answers(upstream: Upstream, settings: GatewaySettings) -> None:
    ending = threading.Event()
    async with client_of(create_app(upstream, settings, ending)) as front:
        assert loads(await front.get("/readyz"))
        ending.set()
        check_error(await front.get("/readyz"), 503, "The gateway ends soon: send requests to another one.")
        assert loads(await front.get("/healthz"))
        assert loads(await front.post("/predict", files=files(b"cat")))["class_name"] == CAT["class_name"]
