from __future__ import annotations

from pathlib import Path

import pytest

from scripts.endpoint import Endpoint
from scripts.server import Server
from scripts.stop import stop


def test_where_no_server_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stop(tmp_path)
    assert "No server is running." in capsys.readouterr().err


def test_a_running_server(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped: list[Server] = []
    running = Server(7, 0.0, endpoint.folder, endpoint)
    monkeypatch.setattr(Server, "find", lambda _: running)
    monkeypatch.setattr(Server, "stop", lambda self: stopped.append(self))
    stop(endpoint.folder)
    assert stopped == [running]
    assert "Stopped (pid 7)." in capsys.readouterr().err
