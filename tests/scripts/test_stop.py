from __future__ import annotations

from pathlib import Path

import pytest

from scripts.client.endpoint import Endpoint
from scripts.errors import CommandError
from scripts.server import drain as module
from scripts.server.processes import Identity
from scripts.server.torchserve import Server
from scripts.stop import stop
from web.gateway import Gateway


@pytest.fixture
def stopped(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> list[Server]:
    """The servers that were stopped; one is there, and its process runs."""
    ended: list[Server] = []
    monkeypatch.setattr(Server, "read", lambda _: Server(Identity(7, ""), endpoint.folder, endpoint))
    monkeypatch.setattr(Server, "process", lambda _: True)
    monkeypatch.setattr(Server, "stop", lambda self: ended.append(self))
    return ended


def test_where_no_server_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stop(tmp_path)
    assert "No server is running." in capsys.readouterr().err


def test_what_a_server_left_that_ended_by_itself_goes(
    stopped: list[Server], endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Server, "process", lambda _: None)
    stop(endpoint.folder)
    assert len(stopped) == 1
    assert "No server is running." in capsys.readouterr().err


@pytest.mark.parametrize("in_time", [True, False])
def test_a_running_server_is_drained_first(
    stopped: list[Server],
    endpoint: Endpoint,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    in_time: bool,
) -> None:
    def drain(drained: Endpoint, seconds: float) -> bool:
        assert (drained, seconds, stopped) == (endpoint, 5, [])
        return in_time

    monkeypatch.setattr(module, "drain", drain)
    stop(endpoint.folder, timeout=5)
    said = capsys.readouterr().err
    assert len(stopped) == 1
    assert "Stopped (pid 7)." in said
    assert ("not answered within 5 s: they are cut off" in said) != in_time


def test_a_server_that_does_not_answer_is_stopped_all_the_same(
    stopped: list[Server], endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def drain(*_: object) -> bool:
        raise CommandError("No answer.")

    monkeypatch.setattr(module, "drain", drain)
    stop(endpoint.folder)
    assert len(stopped) == 1
    assert "No answer. Requests that it has accepted are cut off." in capsys.readouterr().err


def test_the_gateway_is_stopped_before_the_server_it_asks(
    stopped: list[Server], endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop_gateway(_: Gateway, run_dir: Path) -> None:
        assert (run_dir, stopped) == (endpoint.folder, [])

    monkeypatch.setattr(Gateway, "find", lambda _: Gateway(Identity(8, ""), "http://127.0.0.1:8000"))
    monkeypatch.setattr(Gateway, "stop", stop_gateway)
    monkeypatch.setattr(module, "drain", lambda *_: True)
    stop(endpoint.folder)
    assert len(stopped) == 1
    assert "Stopped the gateway (pid 8)." in capsys.readouterr().err
