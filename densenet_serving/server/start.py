"""Start a server on the model store's archives and wait for its first answer, or find the one that already runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.status import Status

from densenet_serving import properties
from densenet_serving.build.archives import Archive, BuildCommand, archives_in
from densenet_serving.build.build import ModelSpec, build_model
from densenet_serving.client.http import Client
from densenet_serving.console import err, note, warn
from densenet_serving.errors import CommandError, NoWeights
from densenet_serving.options import MODEL, STAND_IN
from densenet_serving.server import torchserve
from densenet_serving.server.java import find_java
from densenet_serving.server.readiness import wait_until_ready
from densenet_serving.server.report import classify_sample, report
from densenet_serving.server.supervision import exit_on_signals, postponed_signals
from densenet_serving.server.torchserve import Server, check_no_lost_server
from densenet_serving.server.upgrade import without_replaced
from densenet_serving.server.warnings import warn_if_exposed, warn_if_not_loaded, warn_if_stale, warn_if_unpinned


def start_or_find(
    run_dir: Path,
    model_store: Path,
    config: Path,
    port: int | None = None,
    changes: Mapping[str, str] | None = None,
    foreground: bool = False,
) -> Server:
    """Return a server that has classified a photo: the run folder's own if it runs, or else a new one.

    An empty model store gets an archive first. A new server checks and loads every archive but those that an upgrade
    replaced; `changes` win over the settings in `config`. With `foreground` a new one ends with this process, and one
    that runs already is refused. The caller holds the run folder's lock. Raises CommandError.
    """
    exit_on_signals()
    running = Server.find(run_dir)
    if running and foreground:
        raise CommandError(f"A server runs already (pid {running.pid}): end it with densenet stop first.")
    if not running:
        check_no_lost_server(run_dir)
    find_java()
    properties.read(config)  # these two may refuse: better now than after the minutes that an archive takes
    build_missing_archive(model_store)
    served = archives_to_serve(model_store, run_dir)
    warn_if_stale(served)
    warn_if_unpinned(served)
    if running:
        report_running(running, served, bool(changes))
        return running
    archives = [Archive.read(path) for path in served]
    return start_new(run_dir, model_store, archives, config, port, changes, foreground)


def report_running(running: Server, served: list[Path], has_changes: bool) -> None:
    """Say how a running server differs from what this start asked for, and show that it answers."""
    note(f"Already running (pid {running.pid}).")
    if has_changes:
        warn("It keeps the settings it was started with: densenet stop, then serve again for others.")
    client = Client(running.endpoint)
    warn_if_not_loaded(client, served)
    warn_if_exposed(running)
    report(running, *classify_sample(client))


def start_new(
    run_dir: Path,
    model_store: Path,
    archives: list[Archive],
    config: Path,
    port: int | None,
    changes: Mapping[str, str] | None,
    foreground: bool,
) -> Server:
    """Start a server and wait for its first answer. A server that cannot give one is killed. Raises CommandError."""
    started: Server | None = None
    try:
        with postponed_signals():
            started = torchserve.start(run_dir, model_store, archives, config, port, changes, foreground)
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
    """List the model store's archives without those that are no longer needed, and say which these are."""
    archives = archives_in(model_store)
    current = without_replaced(archives, run_dir)
    kept = without_stand_in(current)
    for path in archives:
        if path not in current:
            note(f"{path.name} is not loaded: an upgrade replaced it, and densenet models rollback goes back to it.")
        elif path not in kept:
            again = BuildCommand.read(path)
            note(f"{path.name} is not loaded: it stood in while there was no other model. To serve it too: {again}")
    return kept


def without_stand_in(archives: list[Path]) -> list[Path]:
    """Leave out the stand-in that an earlier start built, if there is another model now."""
    others = [path for path in archives if not ((command := BuildCommand.read(path)) and command.stand_in)]
    return others or archives
