"""What several end-to-end tests do: send a raw request, run a command, change an archive."""

from __future__ import annotations

import io
import ipaddress
import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from densenet_serving import paths, properties
from densenet_serving.build.archives import MANIFEST
from densenet_serving.cli.main import app
from densenet_serving.client.endpoint import Endpoint
from densenet_serving.client.http import Client
from densenet_serving.console import run
from densenet_serving.options import MODEL, STAND_IN
from densenet_serving.server.torchserve import Server
from handler.card import CARD_FILE
from handler.labels import LABELS_FILE
from tests.waiting import until

TIMEOUT_SECONDS = 60
Models = Callable[..., subprocess.CompletedProcess[str]]  # `densenet models` with arguments
ONE_WORKER = {"default_workers_per_model": "1"}  # a setting of TorchServe, instead of a worker for each core


class Inference:
    """Requests to the inference API as any HTTP client sends them; the answer comes back raw."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.url = endpoint.inference
        self._endpoint = endpoint

    def __call__(
        self,
        body: bytes | None = None,
        *,
        path: str = f"/predictions/{STAND_IN}",
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> requests.Response:
        token = self._endpoint.token("inference")  # read each time: a test may have renewed it
        sent = {"Authorization": f"Bearer {token}"} | dict(headers or {})
        return requests.request(
            method, self.url + path, data=options.pop("data", body), headers=sent, timeout=TIMEOUT_SECONDS, **options
        )


def content_of(response: requests.Response) -> Any:
    """Decode an answer that must be a good one."""
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == "application/json"
    return response.json()


def worker_pids(client: Client) -> dict[str, list[int]]:
    """Map each model to the process ids of its workers, all of which must be ready."""
    pids = {}
    for model in (MODEL, STAND_IN):
        workers = [worker for version in client.versions(model) for worker in version["workers"]]
        assert {worker["status"] for worker in workers} == {"READY"}, workers
        pids[model] = sorted(worker["pid"] for worker in workers)
    return pids


def command(
    verb: str,
    *arguments: str | Path,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT_SECONDS,
) -> subprocess.CompletedProcess[str]:
    """Run `python -m scripts.VERB` in the repository."""
    done = subprocess.run(
        [sys.executable, "-m", f"scripts.{verb}", *arguments],
        cwd=paths.ROOT,
        env=os.environ | dict(environment or {}),
        input=stdin,
        capture_output=True,
        timeout=timeout,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def command_here(verb: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command as `command` does, but in this process: a new one takes most of a second to import."""
    said, complained = io.StringIO(), io.StringIO()
    given = ["densenet", verb, *map(str, arguments)]
    with pytest.MonkeyPatch.context() as patch, same_signals(), redirect_stdout(said), redirect_stderr(complained):
        patch.setattr(sys, "argv", given)
        with pytest.raises(SystemExit) as ended:
            run(app)
    return subprocess.CompletedProcess(given, int(ended.value.code or 0), said.getvalue(), complained.getvalue())


def succeed(done: subprocess.CompletedProcess[str]) -> str:
    """Return what a command printed, which must have succeeded."""
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_refused(done: subprocess.CompletedProcess[str], *facts: str) -> None:
    """Check that a command failed with one sentence, which names the facts."""
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: ")
    assert len(done.stderr.splitlines()) == 1
    for fact in facts:
        assert fact in done.stderr


@contextmanager
def same_signals() -> Iterator[None]:
    """Handle signals afterwards as before: a command that stays in the foreground does it in its own way."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def one_worker(folder: Path) -> Path:
    """Write TorchServe's settings as the repository has them, but with one worker a model, into a folder."""
    config = folder / paths.SERVER_CONFIG.name
    values = properties.read(paths.SERVER_CONFIG) | ONE_WORKER | {"metrics_config": str(paths.METRICS_CONFIG)}
    properties.write(config, "For this test.", values)
    return config


def rewrite(source: Path, target: Path, changes: Mapping[str, Callable[[str], str]]) -> Path:
    """Copy an archive, changing the text of some of its members."""
    with zipfile.ZipFile(source) as mar, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as changed:
        for name in mar.namelist():
            content = mar.read(name)
            if name in changes:
                before = content.decode()
                after = changes[name](before)
                assert after != before, f"nothing changed in {name}"
                content = after.encode()
            changed.writestr(name, content)
    return target


def as_version(version: str) -> dict[str, Callable[[str], str]]:
    """The changes that make an archive of version 1.0 one of another, for `rewrite`.

    Every class gets another name, so that an answer tells which version it is of.
    """

    def versioned(text: str) -> str:
        return text.replace('"1.0"', f'"{version}"')

    def marked(labels: str) -> str:
        return json.dumps({index: [key, f"second {name}"] for index, (key, name) in json.loads(labels).items()})

    return {MANIFEST: versioned, CARD_FILE: versioned, LABELS_FILE: marked}


def with_name(name: str) -> dict[str, Callable[[str], str]]:
    """The change that gives the stand-in's archive another name, for `rewrite`."""
    return {MANIFEST: lambda text: text.replace(f'"{STAND_IN}"', f'"{name}"')}


def wait_until_it_listens(server: Server) -> None:
    """Wait for a server without a model, which is never ready in the sense of `wait_until_ready`."""

    def listens() -> bool:
        try:
            return server.endpoint.key_file.exists() and requests.get(f"{server.endpoint.metrics}/metrics").ok
        except requests.ConnectionError:
            return False

    until(listens, TIMEOUT_SECONDS, (server.logs / "console.log").read_text)


def listening_addresses(pid: int) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Return the address of every socket on which a process and its children listen."""
    java = psutil.Process(pid)
    found = []
    for process in (java, *java.children(recursive=True)):
        for connection in process.net_connections(kind="inet"):
            if connection.status == psutil.CONN_LISTEN:
                # The JVM listens on IPv6 sockets and shows 127.0.0.1 as ::ffff:127.0.0.1.
                address = ipaddress.ip_address(connection.laddr.ip)
                found.append(getattr(address, "ipv4_mapped", None) or address)
    return found
