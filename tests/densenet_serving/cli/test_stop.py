from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
import typer

from densenet_serving.cli.stop import stop
from densenet_serving.client.endpoint import Endpoint
from densenet_serving.errors import CommandError
from densenet_serving.server import drain as module
from densenet_serving.server import processes
from densenet_serving.server.gateway import Gateway
from densenet_serving.server.processes import Identity
from densenet_serving.server.torchserve import Server
from tests.densenet_serving.conftest import start_part


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


@pytest.mark.parametrize(
    ("queued", "said"),
    [
        (None, ""),
        (0, "After 5 s workers were still at work: what was not answered is cut off."),
        (3, "After 5 s 3 requests waited for a worker, and workers were still at work"),
    ],
)
def test_a_running_server_is_drained_first(
    stopped: list[Server],
    endpoint: Endpoint,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    queued: int | None,
    said: str,
) -> None:
    def drain(drained: Endpoint, seconds: float) -> int | None:
        assert (drained, seconds, stopped) == (endpoint, 5, [])
        return queued

    monkeypatch.setattr(module, "drain", drain)
    with nullcontext() if queued is None else pytest.raises(typer.Exit):
        stop(endpoint.folder, timeout=5)
    captured = capsys.readouterr().err
    assert len(stopped) == 1
    assert "Stopped (pid 7)." in captured
    assert said in captured


def test_a_server_that_does_not_answer_is_stopped_all_the_same(
    stopped: list[Server], endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def drain(*_: object) -> bool:
        raise CommandError("No answer.")

    monkeypatch.setattr(module, "drain", drain)
    with pytest.raises(typer.Exit):
        stop(endpoint.folder)
    assert len(stopped) == 1
    assert "No answer. Requests that it has accepted are cut off." in capsys.readouterr().err


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Gateway:
    running = Gateway(Identity(8, ""), "http://127.0.0.1:8000")
    monkeypatch.setattr(Gateway, "find", lambda _: running)
    return running


def test_the_gateway_is_stopped_before_the_server_it_asks(
    stopped: list[Server],
    endpoint: Endpoint,
    gateway: Gateway,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stop_gateway(_: Gateway, run_dir: Path, timeout: float, at_once: object) -> None:
        assert (run_dir, timeout, at_once, stopped) == (endpoint.folder, 7, None, [])

    monkeypatch.setattr(Gateway, "stop", stop_gateway)
    monkeypatch.setattr(module, "drain", lambda *_: None)
    stop(endpoint.folder, timeout=7)
    assert len(stopped) == 1
    assert f"Stopped the gateway (pid {gateway.pid})." in capsys.readouterr().err


def test_what_the_gateway_could_not_answer_is_counted(
    stopped: list[Server],
    endpoint: Endpoint,
    gateway: Gateway,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Gateway, "stop", lambda *_: 20)
    with pytest.raises(typer.Exit) as caught:
        stop(endpoint.folder, timeout=5)
    assert caught.value.exit_code == 1
    assert len(stopped) == 1
    said = capsys.readouterr().err
    assert "Requests that were cut off: 20." in said
    assert f"Stopped the gateway (pid {gateway.pid})." in said


@pytest.mark.parametrize("text", ["", "{}", '{"pid": 1, "created": 2.0}'])
def test_a_damaged_record_does_not_keep_it_from_ending_what_runs(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    lost = [start_part(part, run_dir) for part in processes.VARIABLES]
    for name in ("server.json", "gateway.json"):
        (run_dir / name).write_text(text)
    stop(run_dir)
    assert [one.find() for one in lost] == [None, None]
    said = capsys.readouterr().err
    assert f"{run_dir} has no record of its TorchServe (pid {lost[0].pid}), which still ran: ended." in said
    assert not run_dir.exists()
