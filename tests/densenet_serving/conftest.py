from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from densenet_serving import properties
from densenet_serving.client.endpoint import KEY_FILE, Endpoint
from densenet_serving.server import processes, report, run_folder, start, torchserve
from densenet_serving.server.processes import Part
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


def write_settings(endpoint: Endpoint, **more: str) -> None:
    """Write the settings with which `densenet serve` started the server of a run folder."""
    values = {f"{name}_address": getattr(endpoint, name) for name in ("inference", "management", "metrics")}
    properties.write(endpoint.folder / "config.properties", f"{run_folder.MADE_BY} for a test.", values | more)


def start_part(part: Part, run_dir: Path, program: str = "", *arguments: str) -> psutil.Process:
    """Start a Python program in the place of a part of a server, and wait until its environment can be read."""
    reading, writing = os.pipe()
    program = "; ".join(filter(None, (program, "print(flush=True)", "import time", "time.sleep(60)")))
    command = [sys.executable, "-c", program, *arguments]
    process = processes.spawn(part, run_dir, command, cwd=run_dir, output=writing)
    assert os.read(reading, 1) == b"\n"
    for end in (reading, writing):
        os.close(end)
    return process


@pytest.fixture
def gateway_process(tmp_path: Path) -> Iterator[psutil.Process]:
    """A process in the place of the gateway of a run folder, tmp_path."""
    process = start_part("gateway", tmp_path)
    yield process
    processes.kill(process)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which another program listens."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield int(holder.getsockname()[1])


@pytest.fixture
def running(endpoint: Endpoint) -> Iterator[Server]:
    """A server whose process is another program, and whose APIs are the local server's."""
    write_settings(endpoint, enable_model_api="true")
    process = start_part("TorchServe", endpoint.folder)
    yield Server(process, endpoint)
    processes.kill(process)


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
def answering(running: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """What a start returns: a server that gives every photo the same answer. It is not found before that."""
    for module in (start, report):
        monkeypatch.setattr(module, "Client", lambda _: as_client({"efficientnet_lite0": "m.mar"}))
    monkeypatch.setattr(Server, "find", lambda _: None)
    monkeypatch.setattr(torchserve, "start", lambda *_: running)
    monkeypatch.setattr(start, "wait_until_ready", lambda *_: None)
    return running


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
