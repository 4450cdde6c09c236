from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from densenet_serving.errors import ServingError
from densenet_serving.gateway.settings import GatewaySettings
from densenet_serving.server import gateway, processes
from densenet_serving.server.gateway import Gateway, is_ready, wait_until_ready
from tests.densenet_serving.conftest import start_part
from tests.local_server import LocalServer, as_json


def test_a_running_gateway_is_found_and_stopped(tmp_path: Path) -> None:
    """Where it listens is in its arguments."""
    assert Gateway.find(tmp_path) is None
    settings = GatewaySettings(tmp_path, "m", host="0.0.0.0", port=5)  # noqa: S104
    process = start_part("gateway", tmp_path, "", settings.to_json())
    running = Gateway.find(tmp_path)
    assert running == Gateway(process, "http://127.0.0.1:5")
    assert running.stop() is None
    assert Gateway.find(tmp_path) is None


def test_the_clients_of_a_gateway_that_is_killed_are_counted(tmp_path: Path, local: LocalServer) -> None:
    deaf = start_part("gateway", tmp_path, "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    assert Gateway(deaf, local.url).stop(timeout=0.01) == 0
    assert not processes.runs(deaf)


def test_ready_is_what_readyz_says(local: LocalServer, nobody: str, gateway_process: psutil.Process) -> None:
    assert not is_ready(Gateway(gateway_process, nobody))
    assert not is_ready(Gateway(gateway_process, local.url))
    local.on("GET /readyz", as_json({"status": "Ready"}))
    assert is_ready(Gateway(gateway_process, local.url))


def test_a_gateway_that_is_never_ready_says_why(
    tmp_path: Path, nobody: str, gateway_process: psutil.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "READY_SECONDS", 0)
    never = Gateway(gateway_process, nobody)
    with pytest.raises(ServingError, match=f"{nobody}/readyz"):
        wait_until_ready(never, tmp_path, lambda _: None)
    (tmp_path / gateway.CONSOLE_FILE).write_text("ImportError: no such thing\n")
    processes.kill(gateway_process)
    with pytest.raises(ServingError, match=":\nImportError: no such thing"):
        wait_until_ready(never, tmp_path, lambda _: None)
