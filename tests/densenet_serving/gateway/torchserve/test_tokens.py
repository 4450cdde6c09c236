from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from densenet_serving.client.endpoint import Endpoint
from densenet_serving.gateway.torchserve.tokens import HELD_SECONDS, MARGIN, AsyncTokenCache
from tests.densenet_serving.conftest import write_keys

pytestmark = pytest.mark.anyio


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Every question to the endpoint, which answers with one token after another."""
    calls: list[tuple[Any, ...]] = []

    def token(_: Endpoint, *arguments: Any) -> str:
        calls.append(arguments)
        return f"token {len(calls)}"

    monkeypatch.setattr(Endpoint, "token", token)
    return calls


async def test_a_token_is_held_for_a_while(
    endpoint: Endpoint, asked: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = AsyncTokenCache(endpoint)
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)

    assert [await tokens.get("inference") for _ in range(3)] == ["token 1"] * 3
    now += HELD_SECONDS + 0.1
    assert await tokens.get("inference") == "token 2"
    assert asked == [("inference", MARGIN)] * 2


async def test_no_token_expires_while_it_is_held(asked: list[tuple[Any, ...]]) -> None:
    assert timedelta(seconds=HELD_SECONDS) < MARGIN


async def test_a_token_about_to_expire_is_not_taken(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    write_keys(endpoint.folder, inference="old", hours=MARGIN.total_seconds() / 3600 - 0.001)
    monkeypatch.setattr(Endpoint, "_renew", lambda self, *_: write_keys(self.folder, inference="new"))

    assert endpoint.token("inference") == "old"
    assert await AsyncTokenCache(endpoint).get("inference") == "new"


async def test_many_tasks_ask_once(endpoint: Endpoint, asked: list[tuple[Any, ...]]) -> None:
    tokens = AsyncTokenCache(endpoint)

    assert set(await asyncio.gather(*(tokens.get("inference") for _ in range(10)))) == {"token 1"}
    assert len(asked) == 1


async def test_each_scope_has_its_own(endpoint: Endpoint, asked: list[tuple[Any, ...]]) -> None:
    tokens = AsyncTokenCache(endpoint)

    assert (await tokens.get("inference"), await tokens.get("management")) == ("token 1", "token 2")
    assert await tokens.get("inference") == "token 1"


async def test_a_forgotten_token_is_asked_for_again(endpoint: Endpoint, asked: list[tuple[Any, ...]]) -> None:
    tokens = AsyncTokenCache(endpoint)
    refused = await tokens.get("inference")

    tokens.forget("inference", refused)
    assert await tokens.get("inference") == "token 2"
    tokens.forget("inference", refused)  # another task, late: the new one stays
    assert await tokens.get("inference") == "token 2"
