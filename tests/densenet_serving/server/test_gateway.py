from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from densenet_serving.errors import ServingError
from densenet_serving.gateway.settings import GatewaySettings
from densenet_serving.server import gateway
from densenet_serving.server.gateway import STATE_FILE, Gateway, is_ready, wait_until_ready
from densenet_serving.server.processes import Identity
from tests.local_server import LocalServer, as_json


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield process
        process.kill()


def gateway_of(process: subprocess.Popen[bytes], url: str = "http://127.0.0.1:1") -> Gateway:
    return Gateway(Identity.of(process.pid), url)


def test_a_running_gateway_is_found_and_stopped(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    running = gateway_of(sleeper)
    running.save(tmp_path)
    assert Gateway.find(tmp_path) == running

    assert running.stop(tmp_path) is None
    assert sleeper.wait() == -signal.SIGTERM
    assert Gateway.find(tmp_path) is None
    assert not (tmp_path / STATE_FILE).exists()


def test_none_was_started(tmp_path: Path) -> None:
    assert Gateway.find(tmp_path) is None


def test_another_process_with_its_pid_is_left_alone(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    former = Gateway(Identity(sleeper.pid, "another boot/1"), "http://127.0.0.1:1")
    former.save(tmp_path)
    assert Gateway.find(tmp_path) is None

    former.stop(tmp_path)
    assert sleeper.poll() is None


@pytest.mark.parametrize("text", ["", "{", '{"pid": 1}', "[]"])
def test_a_damaged_state_file(tmp_path: Path, text: str) -> None:
    (tmp_path / STATE_FILE).write_text(text)
    with pytest.raises(ServingError, match=r"gateway.json is damaged, or of another version: densenet stop"):
        Gateway.find(tmp_path)


def test_ready_is_what_readyz_says(local: LocalServer, nobody: str, sleeper: subprocess.Popen[bytes]) -> None:
    assert not is_ready(gateway_of(sleeper, nobody))
    assert not is_ready(gateway_of(sleeper, local.url))
    local.on("GET /readyz", as_json({"status": "Ready"}))
    assert is_ready(gateway_of(sleeper, local.url))


def test_a_gateway_that_ends_says_why(tmp_path: Path, nobody: str) -> None:
    (tmp_path / gateway.CONSOLE_FILE).write_text("ImportError: no such thing\n")
    with pytest.raises(ServingError, match="The gateway ended while starting:\nImportError: no such thing"):
        wait_until_ready(Gateway(Identity(1, "another boot/1"), nobody), tmp_path, lambda _: None)


def test_a_gateway_that_is_never_ready(
    tmp_path: Path, nobody: str, sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "READY_SECONDS", 0)
    with pytest.raises(ServingError, match="The gateway is not ready after 0 s"):
        wait_until_ready(gateway_of(sleeper, nobody), tmp_path, lambda _: None)


def test_a_port_that_is_taken(tmp_path: Path, local: LocalServer) -> None:
    port = int(local.url.rpartition(":")[2])
    with pytest.raises(ServingError, match=f"Port {port} is taken by .* .pid {os.getpid()}.: .* another --port"):
        gateway.start(GatewaySettings(tmp_path, "densenet121", port=port))
    assert not (tmp_path / STATE_FILE).exists()
