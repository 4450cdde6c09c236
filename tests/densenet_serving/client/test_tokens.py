from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from densenet_serving.client.endpoint import MARGIN_SECONDS, Endpoint
from densenet_serving.client.http import AsyncClient
from densenet_serving.errors import CommandError
from tests.densenet_serving.conftest import write_keys
from tests.local_server import Asked, LocalServer, Reply, as_json

HOUR = 3600


@pytest.fixture
def renewals(endpoint: Endpoint, local: LocalServer) -> list[Asked]:
    """The requests for a new token; the server makes `new 1`, `new 2` and so on."""
    asked: list[Asked] = []

    def renew(request: Asked) -> Reply:
        asked.append(request)
        write_keys(endpoint.folder, inference=f"new {len(asked)}")
        return as_json({})

    local.on("GET /token", renew)
    return asked


@pytest.mark.parametrize("seconds", [-30, MARGIN_SECONDS - 5])
def test_a_token_is_renewed_before_it_expires(endpoint: Endpoint, renewals: list[Asked], seconds: float) -> None:
    write_keys(endpoint.folder, hours=seconds / HOUR)
    assert endpoint.token("inference") == "new 1"
    assert [(asked.query, asked.headers["Authorization"]) for asked in renewals] == [("type=inference", "Bearer api")]


def test_a_token_is_held_until_it_has_to_be_renewed(endpoint: Endpoint, renewals: list[Asked]) -> None:
    now = time.time()
    tokens = endpoint.tokens(clock=lambda: now)
    assert [tokens.held("inference"), tokens.get("inference"), tokens.held("inference")] == [None, "inf", "inf"]
    assert tokens.held("management") is None
    now += HOUR - MARGIN_SECONDS - 5
    assert tokens.held("inference") == "inf"
    now += 6
    assert [tokens.held("inference"), tokens.get("inference")] == [None, "new 1"]


def test_a_token_that_lasts_no_longer_than_the_margin_is_held_for_half_of_that(
    endpoint: Endpoint, local: LocalServer
) -> None:
    local.on("GET /token", as_json({}))
    write_keys(endpoint.folder, hours=MARGIN_SECONDS / HOUR / 2)
    tokens = endpoint.tokens()
    assert [tokens.get("inference"), tokens.held("inference")] == ["inf", "inf"]
    assert len(local.asked) == 1


def test_a_refused_token_is_read_again_and_a_late_refusal_changes_nothing(endpoint: Endpoint) -> None:
    tokens = endpoint.tokens()
    assert tokens.get("inference") == "inf"
    write_keys(endpoint.folder, inference="other")
    assert tokens.get("inference") == "inf"
    assert tokens.get("inference", refused="inf") == "other"
    assert tokens.get("inference", refused="inf") == "other"


def test_a_token_given_by_hand_is_the_only_one(endpoint: Endpoint) -> None:
    tokens = endpoint.tokens("given")
    assert [tokens.held("management"), tokens.get("inference", refused="given")] == ["given", "given"]


def test_of_many_threads_one_renews(endpoint: Endpoint, renewals: list[Asked]) -> None:
    write_keys(endpoint.folder, hours=-1)
    tokens, together = endpoint.tokens(), threading.Barrier(8)

    def ask(_: int) -> str:
        together.wait()
        return tokens.get("inference")

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {"new 1"}
    assert len(renewals) == 1


def test_of_many_tasks_one_renews(endpoint: Endpoint, renewals: list[Asked]) -> None:
    write_keys(endpoint.folder, hours=-1)
    used: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        used.append(request.headers["Authorization"])
        return httpx.Response(200, json={})

    async def ask_all() -> None:
        client = AsyncClient(endpoint, transport=httpx.MockTransport(answer))
        await asyncio.gather(*(client.ask("inference", "GET", "ping") for _ in range(8)))
        await client.aclose()

    asyncio.run(ask_all())
    assert used == ["Bearer new 1"] * 8
    assert len(renewals) == 1


def test_an_expiration_without_a_zone_is_utc(endpoint: Endpoint) -> None:
    keys = json.loads(endpoint.key_file.read_text())
    keys["inference"]["expiration time"] = "2999-01-01T00:00:00"
    endpoint.key_file.write_text(json.dumps(keys))
    assert endpoint.token("inference") == "inf"


def test_a_server_that_renews_nothing(endpoint: Endpoint, local: LocalServer, nobody: str) -> None:
    write_keys(endpoint.folder, hours=-1)
    for address, seen in ((local.url, "404"), (nobody, "did not answer")):
        with pytest.raises(CommandError, match=f"{address}/token .*{seen}"):
            Endpoint(address, address, address, endpoint.folder).token("management")


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        *(
            lambda path, text=text: path.write_text(text)
            for text in (
                "",
                "{",
                "{}",
                "[]",
                '{"inference": {"key": "x"}}',
                '{"inference": {"expiration time": "soon"}}',
            )
        ),
    ],
)
def test_no_key_file_or_a_damaged_one(endpoint: Endpoint, damage: Callable[..., None]) -> None:
    damage(endpoint.key_file)
    with pytest.raises(CommandError, match=r"key_file\.json"):
        endpoint.token("inference")
