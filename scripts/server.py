"""Start, watch and stop one TorchServe process; each server lives in a run folder of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import psutil

from handler.settings import default_workers
from scripts import paths, processes, properties, tls
from scripts.archive import read_manifest
from scripts.client import Client
from scripts.endpoint import KEY_FILE, STATE_FILE, Endpoint, read_state
from scripts.errors import CommandError
from scripts.java import find_java
from scripts.space import check_space, unpacked_size
from scripts.upgrade import without_replaced

READY_SECONDS = 110
POLL_SECONDS = 0.2
TRACEBACK_SECONDS = 0.5
# Lines of ts/model_service_worker.py (TorchServe 0.12).
WORKER_DIED = "Backend worker process died."
WORKER_STARTS = "s_name_part0="
# Where TorchServe 0.12 listens unless its settings say otherwise.
DEFAULT_ADDRESSES = {
    "inference_address": "http://127.0.0.1:8080",
    "management_address": "http://127.0.0.1:8081",
    "metrics_address": "http://127.0.0.1:8082",
    "grpc_inference_port": "7070",
    "grpc_management_port": "7071",
}
# A Unix socket's path has at most 108 bytes, and TorchServe puts its workers' sockets in the temporary folder.
LONGEST_TEMPORARY = 80
LOG_BYTES = 20_000_000  # room for the first hours; scripts/log4j2.xml bounds the rest


@dataclass(frozen=True)
class Server:
    """A running TorchServe. `created` is the process's start time, which tells it from a later one of equal pid."""

    pid: int
    created: float
    temporary: Path
    endpoint: Endpoint

    @classmethod
    def read(cls, run_dir: Path) -> Self | None:
        """Return the server that was last started with this run folder and not stopped."""
        state = read_state(run_dir)
        if state is None:
            return None
        endpoint = Endpoint(**state["endpoint"] | {"folder": run_dir})
        return cls(state["pid"], state["created"], Path(state["temporary"]), endpoint)

    @classmethod
    def find(cls, run_dir: Path) -> Self | None:
        """Return the server that was started with this run folder, if it still runs."""
        server = cls.read(run_dir)
        return server if server and server.process() else None

    def save(self) -> None:
        state = {
            "pid": self.pid,
            "created": self.created,
            "temporary": str(self.temporary),
            "endpoint": self.endpoint.to_dict(),
        }
        (self.endpoint.folder / STATE_FILE).write_text(json.dumps(state, indent=2) + "\n")

    @property
    def logs(self) -> Path:
        return self.endpoint.folder / "logs"

    def process(self) -> psutil.Process | None:
        return processes.find(self.pid, self.created)

    def stop(self) -> None:
        """End the server and its workers, and remove what it leaves: tokens, sockets, unpacked models."""
        if process := self.process():
            processes.end(process)
        shutil.rmtree(self.temporary, ignore_errors=True)
        for name in (STATE_FILE, KEY_FILE):
            (self.endpoint.folder / name).unlink(missing_ok=True)


def start(
    run_dir: Path, model_store: Path, config: Path, port: int | None, changes: Mapping[str, str] | None = None
) -> Server:
    """Start TorchServe in the background on the model store's archives, each checked first, and nothing else there.

    `changes` are settings that win over those of `config`. Returns as soon as the process runs. Raises CommandError.
    """
    archives = without_replaced(archives_in(model_store), run_dir)
    models = checked_archives(archives)
    computed = {"default_workers_per_model": str(default_workers())}
    values = (
        DEFAULT_ADDRESSES
        | computed
        | properties.read(config)
        | {
            "model_store": str(model_store.resolve()),
            "load_models": models,
        }
    )
    if port is not None:
        values |= ports_from(port)
    if "metrics_config" in values:
        values |= {"metrics_config": str(find_metrics(config, values["metrics_config"]))}
    values = tls.secure(values | dict(changes or {}), config.parent)
    for key in DEFAULT_ADDRESSES:
        check_port_is_free(key, values[key])

    if left := Server.read(run_dir):
        left.stop()  # it ended by itself, and its unpacked models are still there
    run_dir.mkdir(parents=True, exist_ok=True)
    run_dir = run_dir.resolve()
    logs = run_dir / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir()
    check_space(run_dir, LOG_BYTES, "The log", "choose another --run-dir")
    effective = run_dir / "config.properties"
    properties.write(
        effective, f"Made by densenet serve from {config.resolve()}: change that file, not this one.", values
    )

    temporary = make_temporary()
    try:
        needed = unpacked_size(archives)
        check_space(temporary, needed, "Unpacking the archives", "set TMPDIR to another folder")
        process = launch(effective, run_dir, temporary)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    server = Server(process.pid, process.create_time(), temporary, Endpoint.from_properties(values, run_dir))
    server.save()
    return server


def checked_archives(archives: list[Path]) -> str:
    """List archives as `load_models` takes them, each proved to be sound. Raises CommandError.

    TorchServe makes the first version of a model its default, so the newest comes first.
    """
    versions = {}
    for path in archives:
        if re.search("[,=]", path.name):
            raise CommandError(f"{path} cannot be loaded under that name: rename it, without commas and equals signs.")
        versions[path.name] = natural(read_manifest(path)[1])
    return ",".join(sorted(versions, key=versions.__getitem__, reverse=True))


def natural(version: str) -> list[str | int]:
    """Order versions as people do: 10.0 comes after 2.0."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", version)]


def launch(config: Path, run_dir: Path, temporary: Path) -> psutil.Process:
    environment = os.environ | {
        "JAVA_HOME": str(find_java().parent.parent),
        "TMPDIR": str(temporary),  # holds TorchServe's pid file
        "TEMP": str(temporary),  # holds the workers' sockets and the unpacked archives
        "LOG_LOCATION": str(run_dir / "logs"),
        "METRICS_LOCATION": str(run_dir / "logs"),
    }
    # PYTHONPATH comes before the archive on the workers' path: with the repository on it they would run the
    # repository's handler. TS_CONFIG_FILE wins over --ts-config: another server's settings, perhaps without tokens.
    for name in ("PYTHONPATH", "TS_CONFIG_FILE"):
        environment.pop(name, None)
    torchserve = Path(sys.executable).parent / "torchserve"
    command: list[str | Path] = [
        torchserve,
        "--start",
        "--ncs",
        "--ts-config",
        config,
        "--log-config",
        paths.LOG_CONFIG,
    ]
    with (run_dir / "logs" / "console.log").open("w") as console:
        subprocess.run(
            command,
            cwd=run_dir,
            env=environment,
            stdout=console,
            stderr=console,
            start_new_session=True,
            umask=0o077,  # TorchServe writes its tokens first and closes the file to others afterwards
            check=False,
        )
    pid_file = temporary / ".model_server.pid"
    if not pid_file.exists():
        raise CommandError(f"TorchServe did not start: {(run_dir / 'logs' / 'console.log').read_text().strip()}")
    return psutil.Process(int(pid_file.read_text()))


def make_temporary() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="densenet-"))
    if len(str(folder)) > LONGEST_TEMPORARY:
        folder.rmdir()
        raise CommandError(f"The path {folder} is too long for a worker's socket: set TMPDIR to a shorter one.")
    return folder


def ports_from(port: int) -> dict[str, str]:
    """Lay all five ports side by side, beginning with the inference API's."""
    http = {
        f"{kind}_address": f"http://127.0.0.1:{port + i}"
        for i, kind in enumerate(("inference", "management", "metrics"))
    }
    return http | {"grpc_inference_port": str(port + 3), "grpc_management_port": str(port + 4)}


def find_metrics(config: Path, named: str) -> Path:
    """Find the metrics file as the settings name it, from their own folder. Raises CommandError."""
    path = config.resolve().parent / named
    if not path.is_file():
        raise CommandError(f"There is no {path}, which {config} names as metrics_config: correct or remove that line.")
    return path


def check_port_is_free(key: str, address: str) -> None:
    port = int(address) if address.isdigit() else urlsplit(address).port
    if not port:
        raise CommandError(f"{key}={address} names no port: write it out in the settings, as in http://127.0.0.1:8080.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise CommandError(
                f"Port {port} is taken by another program: stop that one, or give a free range with --port."
            ) from error


def wait_until_ready(server: Server, archives: list[Path], progress: Callable[[str], None]) -> None:
    """Wait until every archive has all its workers ready.

    Raises CommandError with the worker's own traceback as soon as one cannot start, since TorchServe would try
    again for ever and let requests hang; with the last lines of its log and console where TorchServe itself ends;
    and past READY_SECONDS with the workers' log.
    """
    waiting = dict.fromkeys(read_manifest(path) for path in archives)
    client = Client(server.endpoint)
    deadline = time.monotonic() + READY_SECONDS
    while waiting:
        if not server.process():
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
    """Tell whether as many workers are READY as the model wants; /ping says Healthy long before."""
    try:
        versions = client.versions(name)
    except CommandError:
        return False  # the management API does not listen yet
    model = next((model for model in versions if model["modelVersion"] == version), None)
    ready = sum(worker["status"] == "READY" for worker in model["workers"]) if model else 0
    return model is not None and ready >= max(1, model["minWorkers"])


def worker_traceback(log: Path) -> str | None:
    """Return what the first worker that died said of it, without the log's own prefixes."""
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
    """Take what a worker said out of a line of its log, text or JSON."""
    if line.startswith("{") and line.endswith("}"):
        return str(json.loads(line)["message"])
    return line.partition(" MODEL_LOG - ")[2]


def _tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else f"({log} is empty)"


def archives_in(model_store: Path) -> list[Path]:
    return sorted(model_store.glob("*.mar"))
