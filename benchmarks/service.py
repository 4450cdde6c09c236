"""Start a contender, wait for its first answer, and stop it."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import httpx

from benchmarks.load import Target
from benchmarks.material import Material
from benchmarks.measure import Tree
from densenet_serving import paths
from densenet_serving.client import transport
from densenet_serving.errors import CommandError

Form = Literal["raw", "multipart", "json"]

START_SECONDS = 120
POLL_SECONDS = 0.05
BOUNDARY = "benchmark-photo"


@dataclass(frozen=True)
class Place:
    """What a contender may use: its own folder, a run of free ports, the material and the peers' Python."""

    folder: Path
    port: int
    material: Material
    peers: Path  # bin folder of the peers' environment
    cores: int


@dataclass
class Running:
    """A contender that was started. `log` is where it says why, if it ends."""

    tree: Tree
    url: str
    log: Path
    stop: Callable[[], None]
    headers: Callable[[], dict[str, str]] = field(default=dict)


def launch(place: Place, command: list[str | Path], path: str, environment: dict[str, str]) -> Running:
    """Start a program in a process group of its own; it finds the repository's packages through PYTHONPATH."""
    place.folder.mkdir(parents=True, exist_ok=True)
    log = place.folder / "output.log"
    temporary = tempfile.mkdtemp(prefix="bench-")  # short: sockets lie in it
    full = os.environ | {
        "PYTHONPATH": str(paths.ROOT),
        "PATH": f"{place.peers}{os.pathsep}{os.environ['PATH']}",
        "PORT": str(place.port),
        "CHECKPOINT": str(place.material.checkpoint),
        "ARCHIVE": str(place.material.unpacked),
        "TMPDIR": temporary,
    }
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=paths.ROOT, env=full | environment, stdout=output, stderr=output, start_new_session=True
        )
    tree = Tree(process.pid)

    def stop() -> None:
        tree.stop()
        process.wait(timeout=10)
        shutil.rmtree(temporary, ignore_errors=True)

    return Running(tree, f"http://127.0.0.1:{place.port}{path}", log, stop)


def wait_for_answer(running: Running, target: Callable[[], Target]) -> str:
    """Wait for the first answer of status 200 and return its reason phrase.

    Raises CommandError with the log's end.
    """
    deadline = time.monotonic() + START_SECONDS
    last = "no answer"
    while time.monotonic() < deadline:
        if not running.tree.root.is_running() or running.tree.root.status() == "zombie":
            raise CommandError(f"It ended while starting: {tail(running.log)}")
        try:
            ready = target()
            with transport.connect(timeout=START_SECONDS) as http:
                response = http.post(ready.url, content=ready.body.read_bytes(), headers=ready.headers)
            if response.status_code == httpx.codes.OK:
                return response.reason_phrase
            last = f"status {response.status_code}: {response.text[:200]}"
        except (httpx.HTTPError, CommandError) as error:
            last = f"{type(error).__name__}"
        time.sleep(POLL_SECONDS)
    raise CommandError(f"No good answer in {START_SECONDS} s ({last}): {tail(running.log)}")


def make_body(form: Form, field_name: str, photo: Path, folder: Path) -> tuple[Path, dict[str, str]]:
    """Write the request's body as this contender wants it; returns its file and headers."""
    data = photo.read_bytes()
    if form == "raw":
        return photo, {"Content-Type": "image/jpeg"}
    folder.mkdir(parents=True, exist_ok=True)
    body = folder / f"{photo.stem}.{form}"
    if form == "json":
        body.write_text(json.dumps({field_name: base64.b64encode(data).decode()}))
        return body, {"Content-Type": "application/json"}
    disposition = f'form-data; name="{field_name}"; filename="{photo.name}"'
    head = f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\nContent-Type: image/jpeg\r\n\r\n"
    body.write_bytes(head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode())
    return body, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def free_ports(count: int = 6) -> int:
    """Find the first of `count` ports in a row that nothing listens on."""
    for first in range(21000, 30000, count):
        sockets = [socket.socket() for _ in range(count)]
        try:
            for offset, probe in enumerate(sockets):
                probe.bind(("127.0.0.1", first + offset))
        except OSError:
            continue
        finally:
            for probe in sockets:
                probe.close()
        return first
    raise CommandError("There are no free ports between 21000 and 30000.")


def tail(log: Path, length: int = 400) -> str:
    return log.read_text(errors="replace").strip()[-length:] if log.exists() else "(no log)"
