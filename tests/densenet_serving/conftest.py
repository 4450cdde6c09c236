from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from densenet_serving import properties
from densenet_serving.client.endpoint import KEY_FILE, Endpoint
from densenet_serving.server import processes, report, start, torchserve
from densenet_serving.server.processes import Identity, Part
from densenet_serving.server.torchserve import Server
from tests import certificates
from tests.certificates import Pair
from tests.densenet_serving.build.archive_files import write_archive
from tests.densenet_serving.fake_client import as_client
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


def start_part(part: Part, run_dir: Path) -> Identity:
    """Start a process in the place of a part of a server. Until it runs, its environment may still look empty."""
    reading, writing = os.pipe()
    program = "print(flush=True); import time; time.sleep(60)"
    identity = processes.spawn(part, run_dir, [sys.executable, "-c", program], cwd=run_dir, output=writing)
    assert os.read(reading, 1) == b"\n"
    for end in (reading, writing):
        os.close(end)
    return identity


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
    made = Server(Identity.of(process.pid), temporary, endpoint)
    made.save()
    return made


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the export, which takes most of a build's time."""
    from densenet_serving.build import graph

    def stub(_model: object, _side: int, folder: Path) -> None:
        (folder / "model.xml").write_text("<net/>")

    monkeypatch.setattr(graph, "export", stub)


@pytest.fixture
def small_densenet() -> Iterator[None]:
    from tests.checkpoints import few_layers

    with few_layers():
        yield


@pytest.fixture
def answering(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Server:
    """What a start returns: a server without a process, which gives every photo the same answer."""
    made = Server(Identity.of(os.getpid()), endpoint.folder / "temporary", endpoint)
    properties.write(made.settings, "Made by a test.", {"enable_model_api": "true"})
    for module in (start, report):
        monkeypatch.setattr(module, "Client", lambda _: as_client({"efficientnet_lite0": "m.mar"}))
    monkeypatch.setattr(torchserve, "start", lambda *_: made)
    monkeypatch.setattr(start, "wait_until_ready", lambda *_: None)
    return made


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A model store with one archive."""
    folder = tmp_path / "store"
    folder.mkdir()
    write_archive(folder / "m.mar")
    return folder


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """Give the test run its own signal handlers back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A certificate for another name than the loopback address at which the server listens."""
    return certificates.make(tmp_path_factory.mktemp("pair"), "photos.example.org")
