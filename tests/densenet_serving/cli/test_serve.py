from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from densenet_serving.cli import serve
from densenet_serving.errors import CommandError
from densenet_serving.server import supervision
from densenet_serving.server.torchserve import Server


def test_serve_reports_what_a_person_needs_next(
    answering: Server, store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Server, "find", lambda _: None)
    serve.serve(model_store=store, run_dir=answering.endpoint.folder)
    said = capsys.readouterr().out
    assert "coffee.jpg is tabby (88%)" in said
    assert f"{answering.endpoint.inference}/predictions/efficientnet_lite0" in said
    assert "the stand-in answers" in said
    assert f"stop --run-dir {answering.endpoint.folder}" in said


@pytest.mark.parametrize("fixed", [True, False])
def test_a_running_server_keeps_its_settings(
    answering: Server, store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, fixed: bool
) -> None:
    monkeypatch.setattr(Server, "find", lambda _: answering)
    serve.serve(model_store=store, run_dir=answering.endpoint.folder, fixed_models=fixed)
    assert ("keeps the settings it was started with" in capsys.readouterr().err) == fixed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_in_the_foreground_a_signal_stops_the_server(
    answering: Server, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    stopped: list[tuple[Server, float]] = []

    def stop_gently(*arguments: Any) -> bool:
        stopped.append(arguments)
        return True

    monkeypatch.setattr(serve, "stop_gently", stop_gently)

    def process(_: Server) -> bool:
        signal.raise_signal(number)
        return True

    monkeypatch.setattr(Server, "process", process)
    serve.supervise(answering, 5)
    assert stopped == [(answering, 5)]


def test_in_the_foreground_the_end_of_torchserve_is_a_failure(
    answering: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[Server] = []
    monkeypatch.setattr(supervision, "POLL_SECONDS", 0)
    monkeypatch.setattr(Server, "process", lambda _: None)
    monkeypatch.setattr(Server, "stop", lambda self: stopped.append(self))
    with pytest.raises(CommandError, match=r"TorchServe ended by itself: .*logs tells more"):
        serve.supervise(answering, 5)
    assert stopped == [answering]


def test_the_foreground_is_for_a_server_of_its_own(
    answering: Server, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Server, "find", lambda _: answering)
    with pytest.raises(CommandError, match=f"A server runs already .pid {answering.pid}.: end it"):
        serve.serve(model_store=store, run_dir=answering.endpoint.folder, foreground=True)
