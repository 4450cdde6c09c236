from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from scripts.client.endpoint import KEY_FILE, Endpoint
from scripts.server.torchserve import Server
from tests.local_server import LocalServer


def write_keys(folder: Path, inference: str = "inf", hours: float = 1) -> None:
    """Write the key file as TorchServe does."""
    expires = (datetime.now(UTC) + timedelta(hours=hours)).isoformat().replace("+00:00", "Z")
    keys = {
        "inference": {"key": inference, "expiration time": expires},
        "management": {"key": "man", "expiration time": expires},
        "API": {"key": "api"},
    }
    (folder / KEY_FILE).write_text(json.dumps(keys))


@pytest.fixture
def endpoint(local: LocalServer, tmp_path: Path) -> Endpoint:
    """The local server, with valid keys in a run folder of its own."""
    write_keys(tmp_path)
    return Endpoint(local.url, local.url, local.url, tmp_path)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which another program listens."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield int(holder.getsockname()[1])


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as running:
        yield running
        running.kill()


@pytest.fixture
def running(process: subprocess.Popen[bytes], endpoint: Endpoint) -> Server:
    """A server as far as its state file says: its process is another program, its APIs are the local server's."""
    temporary = endpoint.folder / "temporary"
    temporary.mkdir()
    made = Server(process.pid, psutil.Process(process.pid).create_time(), temporary, endpoint)
    made.save()
    return made
