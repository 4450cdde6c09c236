from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest

from densenet_serving.gateway.access import key_of
from densenet_serving.gateway.app import create_app
from densenet_serving.gateway.keys import ApiKeys
from densenet_serving.gateway.settings import GatewaySettings
from densenet_serving.gateway.upstream import Upstream
from tests.densenet_serving.gateway.conftest import TorchServe, check_error, client_of, loads

pytestmark = pytest.mark.anyio

LABEL = {"class_id": "n02124075", "class_name": "Egyptian_cat"}


@pytest.fixture
def keys(settings: GatewaySettings) -> ApiKeys:
    return ApiKeys(settings.run_dir)


@pytest.fixture
async def front(upstream: Upstream, settings: GatewaySettings) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(create_app(upstream, replace(settings, rate="3/hour"))) as client:
        yield client


async def predict(front: httpx.AsyncClient, **options: object) -> httpx.Response:
    return await front.post("/predict", files={"file": b"cat"}, **options)  # type: ignore[arg-type]


async def test_without_keys_everybody_may_ask_as_often_as_they_like(front: httpx.AsyncClient) -> None:
    assert [loads(await predict(front)) for _ in range(5)] == [LABEL] * 5


async def test_once_there_is_a_key_it_is_asked_for(
    front: httpx.AsyncClient, keys: ApiKeys, torchserve: TorchServe
) -> None:
    key = keys.add("phone")

    refused = await predict(front)
    check_error(refused, 401, "An API key is needed: send it as Authorization: Bearer KEY.")
    bearer, basic = refused.headers.get_list("www-authenticate")  # Chromium answers a line of its own only
    assert bearer == "Bearer"
    assert basic.startswith("Basic realm=")
    check_error(await predict(front, headers={"Authorization": "Bearer densenet_x"}), 401, "is not valid")
    assert torchserve.asked == []
    assert loads(await predict(front, headers={"Authorization": f"Bearer {key}"})) == LABEL
    assert loads(await predict(front, auth=("anybody", key))) == LABEL


async def test_torchserve_never_sees_the_key(front: httpx.AsyncClient, keys: ApiKeys, torchserve: TorchServe) -> None:
    await predict(front, headers={"Authorization": f"Bearer {keys.add('phone')}"})

    assert torchserve.asked[0].headers["Authorization"] == "Bearer inf"


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/", "/nothing", "/healthz/x", "/healthz.", "/model/"])
async def test_nothing_else_is_open(front: httpx.AsyncClient, keys: ApiKeys, path: str) -> None:
    keys.add("phone")

    check_error(await front.get(path), 401, "An API key is needed")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/healthz/", "/healthz%2f"])
async def test_the_health_checks_are_open(front: httpx.AsyncClient, keys: ApiKeys, path: str) -> None:
    keys.add("phone")

    assert (await front.get(path)).status_code == 200


async def test_a_revoked_key_is_refused_at_once(front: httpx.AsyncClient, keys: ApiKeys) -> None:
    headers = {"Authorization": f"Bearer {keys.add('phone')}"}
    assert loads(await predict(front, headers=headers)) == LABEL

    keys.revoke("phone")
    check_error(await predict(front, headers=headers), 401, "is not valid")


async def test_a_damaged_key_file_lets_nobody_in(front: httpx.AsyncClient, keys: ApiKeys) -> None:
    key = keys.add("phone")
    keys.path.write_text("{")

    check_error(await predict(front, headers={"Authorization": f"Bearer {key}"}), 503, "cannot read its API keys")


async def test_a_key_has_its_rate(front: httpx.AsyncClient, keys: ApiKeys) -> None:
    phone, laptop = ({"Authorization": f"Bearer {keys.add(name)}"} for name in ("phone", "laptop"))
    for _ in range(3):
        assert loads(await predict(front, headers=phone)) == LABEL

    refused = await predict(front, headers=phone)
    check_error(refused, 429, "The key phone may make 3/hour")
    assert int(refused.headers["retry-after"]) > 0
    assert loads(await predict(front, headers=laptop)) == LABEL
    assert (await front.get("/docs", headers=phone)).status_code == 200  # looking costs nothing


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        ("Basic dXNlcjphYmM=", "abc"),
        ("BASIC OmE6Yg==", "a:b"),
        ("Basic dXNlcg==", ""),
        ("Basic %%%", ""),
        ("Basic gIA=", ""),
        ("Digest abc", ""),
        ("abc", ""),
        ("", ""),
    ],
)
async def test_where_the_key_stands(header: str, key: str) -> None:
    assert key_of(header) == key
