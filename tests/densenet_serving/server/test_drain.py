from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from densenet_serving.client.endpoint import Endpoint
from densenet_serving.client.http import Client
from densenet_serving.errors import CommandError
from densenet_serving.server import drain as module
from densenet_serving.server.drain import drain, wait_until_idle
from tests.densenet_serving.conftest import write_keys
from tests.local_server import Asked, LocalServer, Reply, as_json


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(module, "REST_SECONDS", 0.05)


def described(queued: int, version: str = "1.0") -> dict[str, Any]:
    return {"modelVersion": version, "jobQueueStatus": {"pendingRequests": queued}, "workers": [{"pid": 7}]}


def works(monkeypatch: pytest.MonkeyPatch, seconds: Iterator[float]) -> None:
    monkeypatch.setattr(module, "cpu_seconds", lambda _: next(seconds))


@pytest.fixture
def client(endpoint: Endpoint) -> Client:
    return Client(endpoint)


def test_it_waits_for_the_queue_and_then_for_the_workers(
    client: Client, local: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    queued = iter([3, 1])
    worked = iter([0.1, 0.2, 0.3, 0.4])
    local.on("GET /models/m/all", lambda _: as_json([described(next(queued, 0))]))
    works(monkeypatch, (next(worked, 0.4) for _ in itertools.count()))
    assert wait_until_idle(client, ["m"], 5)
    assert next(queued, None) is None
    assert next(worked, None) is None


@pytest.mark.parametrize(
    ("queue", "work"), [(itertools.repeat(1), itertools.repeat(0.0)), (itertools.repeat(0), itertools.count(0.0))]
)
def test_it_does_not_wait_for_ever(
    client: Client,
    local: LocalServer,
    monkeypatch: pytest.MonkeyPatch,
    queue: Iterator[int],
    work: Iterator[float],
) -> None:
    local.on("GET /models/m/all", lambda _: as_json([described(next(queue))]))
    works(monkeypatch, work)
    assert not wait_until_idle(client, ["m"], 0.2)


def test_one_version_does_not_wait_for_another(
    client: Client, local: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    local.on("GET /models/m/all", as_json([described(9, "1.0"), described(0, "2.0")]))
    works(monkeypatch, itertools.repeat(0.0))
    assert wait_until_idle(client, ["m"], 5, version="2.0")
    assert not wait_until_idle(client, ["m"], 0.2, version="1.0")


def test_a_process_that_is_gone_works_no_more() -> None:
    assert module.cpu_seconds(2**22 + 1) == 0.0


def test_draining_first_replaces_the_token(
    endpoint: Endpoint, local: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def renew(asked: Asked) -> Reply:
        assert asked.headers["Authorization"] == "Bearer api"
        write_keys(endpoint.folder, inference="nobody knows it")
        return as_json({})

    local.on("GET /token", renew)
    local.on("GET /models", as_json({"models": [{"modelName": "m", "modelUrl": "m.mar"}]}))
    local.on("GET /models/m/all", as_json([described(0)]))
    works(monkeypatch, itertools.repeat(0.0))
    assert drain(endpoint, 5) is None
    assert (local.asked[0].path, local.asked[0].query) == ("/token", "type=inference")
    assert endpoint.token("inference") == "nobody knows it"


def test_a_server_that_does_not_answer_cannot_be_drained(endpoint: Endpoint, local: LocalServer) -> None:
    local.on("GET /token", as_json({}, 500))
    with pytest.raises(CommandError, match="answered 500 and gave no new inference token"):
        drain(endpoint, 5)
