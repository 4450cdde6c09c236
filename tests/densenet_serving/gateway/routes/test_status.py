"""The model's card, health, and the number of workers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from densenet_serving.gateway import status
from densenet_serving.gateway.app import create_app
from densenet_serving.gateway.keys import ApiKeys
from densenet_serving.gateway.settings import GatewaySettings
from densenet_serving.gateway.upstream import NOT_RUNNING, Upstream
from tests.densenet_serving.gateway.conftest import GATEWAY, MODEL, TorchServe, check_error, client_of, files, loads

pytestmark = pytest.mark.anyio

WEIGHTS = {
    "source": "file cats.pth",
    "sha256": "ab" * 32,
    "license": "MIT",
    "training": None,
    "accuracy": {"top1": 0.7, "top5": 0.9, "evaluated_on": "cats"},
    "temperature": 1.3,
}
ENGINE = {"engine": "openvino", "precision": "bf16", "device": "cpu", "threads": 1}
CARD = {
    "name": MODEL,
    "version": "2.0",
    "architecture": "DenseNet-121",
    "classes": 1000,
    "task": "single-label",
    "heatmaps": True,
    "weights": WEIGHTS,
    "preprocessing": {"resize": 255},
    "built_with": {"torch": "2.13.0"},
    "running": ENGINE,
}


def described(card: object) -> list[Mapping[str, Any]]:
    """TorchServe's answer, which also names processes and paths."""
    return [
        {
            "modelName": MODEL,
            "modelVersion": "2.0",
            "modelUrl": "secret.mar",
            "workers": [{"status": "READY", "pid": 4321}],
            "customizedMetadata": card,
        }
    ]


async def test_the_card_and_the_engine(front: httpx.AsyncClient, torchserve: TorchServe) -> None:
    torchserve.described = described(CARD)

    answer = await front.get("/model")

    public = {name: CARD[name] for name in CARD if name not in ("built_with", "running")}
    assert loads(answer) == public | {"engine": ENGINE, "api_key": False}
    assert [word for word in ("secret", "4321", "2.13.0") if word in answer.text] == []
    assert str(torchserve.asked[0].url) == f"http://management/models/{MODEL}?customized=true"


@pytest.mark.parametrize(
    "card",
    [None, "a text", {}, {"weights": None}, {"weights": {}}, {"weights": {"source": "x"}}, CARD | {"classes": "many"}],
)
async def test_an_archive_without_our_card(front: httpx.AsyncClient, torchserve: TorchServe, card: object) -> None:
    torchserve.described = described(card)

    answer = loads(await front.get("/model"))
    known = {name: value for name, value in answer.items() if value is not None}
    assert known == {"name": MODEL, "version": "2.0", "api_key": False}


async def test_an_address_is_shown_without_what_may_be_secret(front: httpx.AsyncClient, torchserve: TorchServe) -> None:
    source = "https://me:password@weights.example:8443/cats.pth?signature=1"
    torchserve.described = described(CARD | {"weights": WEIGHTS | {"source": source}})

    assert loads(await front.get("/model"))["weights"]["source"] == "https://weights.example/cats.pth"


async def test_many_who_ask_at_a_time_cost_torchserve_one_answer(
    front: httpx.AsyncClient, torchserve: TorchServe
) -> None:
    """A TorchServe that hangs would let them wait for hours, one after the other."""

    async def hang(_: httpx.Request) -> httpx.Response:
        for __ in range(100):  # until all have asked
            await asyncio.sleep(0)
        raise httpx.ReadTimeout("too slow")

    torchserve.described, torchserve.replies = described(CARD), [hang]
    for expected in (503, 200):
        torchserve.asked.clear()
        answers = await asyncio.gather(*(front.get("/model") for _ in range(20)))
        assert {answer.status_code for answer in answers} == {expected}
        assert len(torchserve.asked) == 1


async def test_a_newer_version_is_seen(upstream: Upstream, torchserve: TorchServe, settings: GatewaySettings) -> None:
    app = FastAPI()
    app.include_router(status.router(upstream, ApiKeys(settings.run_dir), threading.Event(), kept_seconds=0))
    async with client_of(app) as front:
        for version in ("2.0", "3.0"):
            torchserve.described = described(CARD | {"version": version})
            assert loads(await front.get("/model"))["version"] == version


async def test_a_stopped_torchserve_is_said_and_not_remembered(
    front: httpx.AsyncClient, torchserve: TorchServe
) -> None:
    torchserve.replies = [httpx.ConnectError("refused")]
    torchserve.described = described(CARD)

    check_error(await front.get("/model"), 503, NOT_RUNNING)
    assert loads(await front.get("/model"))["version"] == "2.0"


async def test_whether_a_key_is_asked_for(
    front: httpx.AsyncClient, torchserve: TorchServe, settings: GatewaySettings
) -> None:
    torchserve.described = described(CARD)
    key = ApiKeys(settings.run_dir).add("phone")

    assert loads(await front.get("/model", headers={"Authorization": f"Bearer {key}"}))["api_key"] is True


async def test_health(front: httpx.AsyncClient, torchserve: TorchServe) -> None:
    assert loads(await front.get("/healthz")) == {"status": "Healthy"}
    assert loads(await front.get("/readyz")) == {"status": "Ready", "model": MODEL, "workers": 1, "wanted": 2}


async def test_without_workers_it_is_not_ready(front: httpx.AsyncClient, torchserve: TorchServe) -> None:
    torchserve.described = []
    check_error(await front.get("/readyz"), 503, MODEL)
    assert loads(await front.get("/healthz"))


async def test_before_its_end_it_is_not_ready_and_still_answers(upstream: Upstream, settings: GatewaySettings) -> None:
    ending = threading.Event()
    async with client_of(create_app(upstream, settings, ending)) as front:
        assert loads(await front.get("/readyz"))
        ending.set()
        check_error(await front.get("/readyz"), 503, "ends soon")
        assert loads(await front.get("/healthz"))
        assert loads(await front.post("/predict", files=files(b"cat")))


async def test_prometheus_on_this_machine_counts_the_workers(front: httpx.AsyncClient) -> None:
    response = await front.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'gateway_workers_ready{model_name="densenet121"} 1\n' in response.text
    assert 'gateway_workers_wanted{model_name="densenet121"} 2\n' in response.text


@pytest.mark.parametrize(("address", "headers"), [("192.0.2.1", {}), ("127.0.0.1", {"X-Forwarded-For": "192.0.2.1"})])
async def test_metrics_are_not_for_others(app: FastAPI, address: str, headers: dict[str, str]) -> None:
    """Neither for another machine, nor for whom a proxy on this one asks."""
    transport = httpx.ASGITransport(app, client=(address, 5))
    async with httpx.AsyncClient(transport=transport, base_url=GATEWAY) as stranger:
        check_error(await stranger.get("/metrics", headers=headers), 403, "this machine alone")
