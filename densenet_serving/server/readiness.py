"""Wait until a started server is ready, or say why it never will be."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from densenet_serving.build.archives import Archive
from densenet_serving.client.http import Client
from densenet_serving.errors import CommandError
from densenet_serving.server.processes import runs
from densenet_serving.server.torchserve import Server

READY_SECONDS = 110
POLL_SECONDS = 0.2
TRACEBACK_SECONDS = 0.5
# Lines of ts/model_service_worker.py (TorchServe 0.12).
WORKER_DIED = "Backend worker process died."
WORKER_STARTS = "s_name_part0="


def wait_until_ready(server: Server, archives: Iterable[Archive], progress: Callable[[str], None]) -> None:
    """Wait until every archive has all its workers ready. Raises CommandError if that will not happen:

    - with a worker's traceback as soon as one cannot start, since TorchServe would try again forever and let requests
      hang;
    - with the last lines of TorchServe's log and console if it ends;
    - with the end of the workers' log after READY_SECONDS.
    """
    waiting = dict.fromkeys((archive.name, archive.version) for archive in archives)
    client = Client(server.endpoint)
    deadline = time.monotonic() + READY_SECONDS
    while waiting:
        if not runs(server.process):
            said = "\n".join(_tail(server.logs / name) for name in ("ts_log.log", "console.log"))
            raise CommandError(f"TorchServe ended while starting:\n{said}")
        if traceback := worker_traceback(server.logs / "model_log.log"):
            raise CommandError(f"A worker cannot start:\n{traceback}")
        if time.monotonic() > deadline:
            raise CommandError(f"No answer after {READY_SECONDS} s:\n{_tail(server.logs / 'model_log.log')}")
        progress(f"Waiting for {', '.join(name for name, _ in waiting)}")
        for name, version in list(waiting):
            if server.endpoint.key_file.exists() and is_ready(client, name, version):
                del waiting[name, version]
        time.sleep(POLL_SECONDS if waiting else 0)


def is_ready(client: Client, name: str, version: str) -> bool:
    """Tell whether a model has as many READY workers as it wants; /ping says Healthy long before that."""
    try:
        versions = client.versions(name)
    except CommandError:
        return False  # the management API does not listen yet
    model = next((model for model in versions if model["modelVersion"] == version), None)
    ready = sum(worker["status"] == "READY" for worker in model["workers"]) if model else 0
    return model is not None and ready >= max(1, model["minWorkers"])


def worker_traceback(log: Path) -> str | None:
    """Return the last words of the first worker that died, without the log's prefixes; None if none died."""
    if not log.exists() or WORKER_DIED not in log.read_text(errors="replace"):
        return None
    time.sleep(TRACEBACK_SECONDS)  # TorchServe copies a worker's output line by line: let it finish
    lines = [_message(line) for line in log.read_text(errors="replace").splitlines()]
    died = next(i for i, line in enumerate(lines) if WORKER_DIED in line)
    # The reason can stand before that line too, when TorchServe caught and logged it first.
    start = next((i for i, line in enumerate(lines) if line.startswith("Traceback")), died)
    end = next((i for i, line in enumerate(lines) if i > died and line.startswith(WORKER_STARTS)), len(lines))
    return "\n".join(lines[start:end])


def _message(line: str) -> str:
    """Return what a worker said from a line of its log, which is text or JSON."""
    if line.startswith("{") and line.endswith("}"):
        return str(json.loads(line)["message"])
    return line.partition(" MODEL_LOG - ")[2]


def _tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else f"({log} is empty)"
