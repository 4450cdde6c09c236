from __future__ import annotations

import itertools
import signal
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import psutil
import pytest

from densenet_serving.client.endpoint import Endpoint
from densenet_serving.client.http import Client
from densenet_serving.errors import CommandError
from densenet_serving.server import drain as module
from densenet_serving.server import processes
from densenet_serving.server.drain import drain, end, stop_gently, supervise, wait_until_idle
from densenet_serving.server.gateway import Gateway
from densenet_serving.server.torchserve import Server
from tests.densenet_serving.conftest import write_keys
from tests.local_server import Asked, LocalServer, Reply, as_json


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(module, "REST_SECONDS", 0.05)
    monkeypatch.setattr(processes, "POLL_SECONDS", 0.01)


def described(queued: int, version: str = "1.0") -> dict[str, Any]:
    return {"modelVersion": version, "jobQueueStatus": {"pendingRequests": queued}, "workers": [{"pid": 7}]}


@pytest.mark.parametrize(
    ("queue", "work", "idle"),
    [
        ([3, 1, 0], [0.1, 0.2, 0.3, 0.4], True),
        ([1], [0.0], False),
        ([0], itertools.count(0.0), False),
    ],
)
def test_it_waits_for_the_queue_and_the_workers_but_not_for_ever(
    endpoint: Endpoint,
    local: LocalServer,
    monkeypatch: pytest.MonkeyPatch,
    queue: Iterable[int],
    work: Iterable[float],
    idle: bool,
) -> None:
    """The last value of each goes on."""
    queued, worked = (_going_on(values) for values in (queue, work))
    local.on("GET /models/m/all", lambda _: as_json([described(int(next(queued)))]))
    monkeypatch.setattr(module, "cpu_seconds", lambda _: next(worked))
    assert wait_until_idle(Client(endpoint), ["m"], 5 if idle else 0.2) is idle


def _going_on(values: Iterable[float]) -> Iterator[float]:
    last = 0.0
    for last in values:
        yield last
    yield from itertools.repeat(last)


def test_one_version_does_not_wait_for_another(endpoint: Endpoint, local: LocalServer) -> None:
    local.on("GET /models/m/all", as_json([described(9, "1.0"), described(0, "2.0")]))
    assert wait_until_idle(Client(endpoint), ["m"], 5, version="2.0")
    assert not wait_until_idle(Client(endpoint), ["m"], 0.2, version="1.0")


def test_a_process_that_is_gone_works_no_more() -> None:
    assert [module.cpu_seconds(pid) for pid in (2**22 + 1, -1)] == [0.0, 0.0]


def test_draining_first_replaces_the_token(endpoint: Endpoint, local: LocalServer) -> None:
    def renew(asked: Asked) -> Reply:
        assert asked.headers["Authorization"] == "Bearer api"
        write_keys(endpoint.folder, inference="nobody knows it")
        return as_json({})

    local.on("GET /token", renew)
    local.on("GET /models", as_json({"models": [{"modelName": "m", "modelUrl": "m.mar"}]}))
    local.on("GET /models/m/all", as_json([described(0)]))
    assert drain(endpoint, 5) is None
    assert (local.asked[0].path, local.asked[0].query) == ("/token", "type=inference")
    assert endpoint.token("inference") == "nobody knows it"


@pytest.mark.parametrize(
    ("drained", "said"),
    [(None, ""), (0, "workers were still at work"), (3, "3 requests waited"), ("No answer.", "No answer.")],
)
def test_a_server_is_stopped_after_it_was_drained_or_not(
    running: Server,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    drained: int | str | None,
    said: str,
) -> None:
    def drain(endpoint: Endpoint, seconds: float) -> int | None:
        assert (endpoint, seconds, processes.runs(running.process)) == (running.endpoint, 5, True)
        if isinstance(drained, str):
            raise CommandError(drained)
        return drained

    monkeypatch.setattr(module, "drain", drain)
    assert stop_gently(running, 5) is (drained is None)
    assert not processes.runs(running.process)
    assert said in capsys.readouterr().err


@pytest.fixture
def gateway(gateway_process: psutil.Process) -> Gateway:
    return Gateway(gateway_process, "http://127.0.0.1:1")


@pytest.mark.parametrize("cut_off", [None, 20])
def test_the_gateway_ends_before_the_server_that_it_asks(
    running: Server,
    gateway: Gateway,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    cut_off: int | None,
) -> None:
    def stop(_: Gateway, timeout: float, at_once: threading.Event | None) -> int | None:
        assert (timeout, at_once, processes.runs(running.process)) == (7, None, True)
        return cut_off

    monkeypatch.setattr(Gateway, "stop", stop)
    monkeypatch.setattr(module, "drain", lambda *_: None)
    assert end(running, gateway, 7) is (cut_off is None)
    assert not processes.runs(running.process)
    assert ("cut off: 20" in capsys.readouterr().err) is (cut_off is not None)


def when_supervised(monkeypatch: pytest.MonkeyPatch, action: Any) -> None:
    """Do something as soon as the signals have their new handlers."""

    class Ready(processes.Signals):
        def __init__(self) -> None:
            super().__init__()
            action()

    monkeypatch.setattr(module, "Signals", Ready)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("fronted", [True, False])
def test_in_the_foreground_a_signal_ends_everything(
    running: Server, gateway: Gateway, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, fronted: bool
) -> None:
    monkeypatch.setattr(module, "drain", lambda *_: None)
    when_supervised(monkeypatch, lambda: signal.raise_signal(number))
    supervise(running, gateway if fronted else None, 5)
    assert [processes.runs(part.process) for part in (running, gateway)] == [False, not fronted]


@pytest.mark.parametrize(("killed", "named"), [(0, "TorchServe"), (1, "The gateway")])
def test_if_one_part_dies_the_other_does_not_stay(
    running: Server, gateway: Gateway, monkeypatch: pytest.MonkeyPatch, killed: int, named: str
) -> None:
    parts: list[psutil.Process] = [running.process, gateway.process]
    when_supervised(monkeypatch, lambda: processes.kill(parts[killed]))
    with pytest.raises(CommandError, match=f"^{named} ended by itself.*{running.logs}"):
        supervise(running, gateway, 5)
    assert [processes.runs(part) for part in parts] == [False, False]


def test_a_second_signal_ends_both_at_once(running: Server, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway answers nobody, and would be waited for. The second comes while it is not yet told to end."""

    def say_not_ready(_: Gateway) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Gateway, "say_not_ready", say_not_ready)
    when_supervised(monkeypatch, lambda: signal.raise_signal(signal.SIGTERM))
    gateway.process.suspend()
    with pytest.raises(CommandError, match="before its last answer"):
        supervise(running, gateway, 60, delay=60)
    assert [processes.runs(part.process) for part in (running, gateway)] == [False, False]
