"""Start a server on the model store's archives and wait for its first answer, or find the one that already runs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from rich.status import Status

from densenet_serving import properties
from densenet_serving.build.archives import Archive, BuildCommand, archives_in
from densenet_serving.build.build import ModelSpec, build_model
from densenet_serving.client.http import Client
from densenet_serving.console import err, note, warn
from densenet_serving.errors import CommandError, NoWeights
from densenet_serving.options import MODEL, STAND_IN, ServeOptions
from densenet_serving.server import torchserve
from densenet_serving.server.java import find_java
from densenet_serving.server.processes import exit_on_signals, postponed_signals, runs
from densenet_serving.server.report import (
    classify_sample,
    report,
    warn_if_exposed,
    warn_if_not_loaded,
    warn_of_archives,
)
from densenet_serving.server.torchserve import Server
from densenet_serving.server.upgrade import version_of, without_replaced

READY_SECONDS = 110
POLL_SECONDS = 0.2
TRACEBACK_SECONDS = 0.5
LAST_LINES = 15  # of a log, in an error
# Lines of ts/model_service_worker.py (TorchServe 0.12).
WORKER_DIED = "Backend worker process died."
WORKER_STARTS = "s_name_part0="


def start_or_find(options: ServeOptions, port: int | None = None) -> Server:
    """Return a server that has classified a photo: the run folder's own if it runs, or else a new one.

    An empty model store gets an archive first. A new server checks and loads every archive but those that an upgrade
    replaced. With options.foreground a new one ends with this process, and one that runs already is refused. `port` is
    the first of five. The caller holds the run folder's lock. Raises CommandError.
    """
    exit_on_signals()
    running = Server.find(options.run_dir)
    if running and options.foreground:
        raise CommandError(f"A server runs already (pid {running.pid}): end it with densenet stop first.")
    find_java()
    properties.read(options.config)  # these two may refuse: better now than after the minutes that an archive takes
    build_missing_archive(options.model_store)
    served = archives_to_serve(options.model_store, options.run_dir)
    warn_of_archives(served)
    if not running:
        return start_new(options, [Archive.read(path) for path in served], port)
    note(f"Already running (pid {running.pid}).")
    if options.changes():
        warn("It keeps the settings it was started with: densenet stop, then serve again for others.")
    client = Client(running.endpoint)
    warn_if_not_loaded(client, served)
    warn_if_exposed(running)
    report(running, *classify_sample(client))
    return running


def start_new(options: ServeOptions, archives: list[Archive], port: int | None) -> Server:
    """Start a server and wait for its first answer. A server that cannot give one is killed. Raises CommandError."""
    started: Server | None = None
    try:
        with postponed_signals():
            started = torchserve.start(
                options.run_dir,
                options.model_store,
                archives,
                options.config,
                port,
                options.changes(),
                options.foreground,
            )
        with Status("Starting TorchServe", console=err) as status:
            wait_until_ready(started, archives, status.update)
        warn_if_exposed(started)
        report(started, *classify_sample(Client(started.endpoint)))
    except BaseException:  # Ctrl-C too
        if started:
            started.kill()
        raise
    return started


def build_missing_archive(model_store: Path) -> None:
    """Fill an empty model store with DenseNet-121's archive, or if it has no weights, with the stand-in's."""
    if archives_in(model_store):
        return
    try:
        build_model(ModelSpec(MODEL), model_store)
    except NoWeights as reason:
        warn(
            f"{reason} Until then the stand-in EfficientNet-Lite0 answers, a smaller network with ImageNet weights of "
            f"its own, under its own name {STAND_IN}."
        )
        build_model(ModelSpec(STAND_IN), model_store, chosen=False)


def archives_to_serve(model_store: Path, run_dir: Path) -> list[Path]:
    """List the model store's archives without those that are no longer needed, and say which these are.

    They are those that an upgrade replaced, and the stand-in that an earlier start built, if there is another model.
    """
    archives = archives_in(model_store)
    current = without_replaced(archives, run_dir)
    stand_ins = {path: command for path in current if (command := BuildCommand.read(path)) and command.stand_in}
    kept = [path for path in current if path not in stand_ins] or current
    for path in archives:
        if path not in current:
            note(f"{path.name} is not loaded: an upgrade replaced it, and densenet models rollback goes back to it.")
        elif path not in kept:
            again = stand_ins[path]
            note(f"{path.name} is not loaded: it stood in while there was no other model. To serve it too: {again}")
    return kept


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
        model = version_of(client, name, version)
    except CommandError:
        return False  # the management API does not listen yet
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


def _tail(log: Path) -> str:
    return (
        "\n".join(log.read_text(errors="replace").splitlines()[-LAST_LINES:]) if log.exists() else f"({log} is empty)"
    )
