from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from densenet_serving.gateway.app import create_app
from densenet_serving.gateway.keys import ApiKeys
from densenet_serving.gateway.routes import model
from densenet_serving.gateway.settings import GatewaySettings
from densenet_serving.gateway.torchserve.upstream import NOT_RUNNING, Upstream
from tests.densenet_serving.gateway.conftest import MODEL, TorchServe, check_error, client_of, loads

pytestmark = pytest.mark.anyio

WEIGHTS = {"source": "file cats.pth", "sha256": "ab" * 32, "license": "MIT", "training": None, "accuracy": None}
ENGINE = {"engine": "openvino", "precision": "bf16", "device": "cpu", "threads": 1}
CARD = {
    "name": MODEL,
    "version": "2.0",
    "architecture": "DenseNet-121",
    "classes": 1000,
    "task": "single-label",
    "weights": WEIGHTS | {"temperature": 1.3},
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

    public = {name: CARD[name] for name in ("name", "version", "architecture", "classes", "preprocessing", "task")}
    assert loads(answer) == public | {"weights": WEIGHTS, "engine": ENGINE, "api_key": False}
    assert [word for word in ("secret", "4321", "2.13.0") if word in answer.text] == []
    assert str(torchserve.asked[0].url) == f"http://management/models/{MODEL}?customized=true"


@pytest.mark.parametrize(
    "card",
    [None, "a text", {}, {"weights": None}, {"weights": {}}, {"weights": {"source": "x"}}, CARD | {"classes": "many"}],
)
async def test_an_archive_without_our_card(front: httpx.AsyncClient, torchserve: TorchServe, card: object) -> None:
    torchserve.described = described(card)

    answer = loads(await front.get("/model"))
    assert {name: value for name, value in answer.items() if value is not None} == {
        "name": MODEL,
        "version": "2.0",
        "api_key": False,
    }


async def test_an_address_is_shown_without_what_may_be_secret(front: httpx.AsyncClient, torchserve: TorchServe) -> None:
    source = "https://me:password@weights.example:8443/cats.pth?signature=1"
    torchserve.described = described(CARD | {"weights": WEIGHTS | {"source": source}})

    assert loads(await front.get("/model"))["weights"]["source"] == "https://weights.example/cats.pth"


async def test_many_who_ask_cost_the_worker_one_answer(front: httpx.AsyncClient, torchserve: TorchServe) -> None:
    torchserve.described = described(CARD)

    answers = await asyncio.gather(*(front.get("/model") for _ in range(20)))

    assert {answer.status_code for answer in answers} == {200}
    assert len(torchserve.asked) == 1


async def test_many_who_wait_for_a_torchserve_that_hangs_wait_together(
    front: httpx.AsyncClient, torchserve: TorchServe
) -> None:
    """One after the other they would wait for hours."""

    async def hang(_: httpx.Request) -> httpx.Response:
        for __ in range(100):  # until all have asked
            await asyncio.sleep(0)
        raise httpx.ReadTimeout("too slow")

    torchserve.replies = [hang] * 20

    answers = await asyncio.gather(*(front.get("/model") for _ in range(20)))

    assert {answer.status_code for answer in answers} == {503}
    assert len(torchserve.asked) == 1


async def test_a_newer_version_is_seen(
    upstream: Upstream, settings: GatewaySettings, torchserve: TorchServe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "KEPT_SECONDS", -1)
    async with client_of(create_app(upstream, settings)) as front:
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
