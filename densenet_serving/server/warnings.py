"""Warn about archives that are stale, unchecked or not loaded, and about a server that other machines reach."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path

from densenet_serving import paths, properties
from densenet_serving.build.archives import BuildCommand
from densenet_serving.client.http import Client
from densenet_serving.console import shell, warn
from densenet_serving.errors import CommandError
from densenet_serving.files import digest_file
from densenet_serving.server import exposure
from densenet_serving.server.torchserve import Server


def warn_if_stale(archives: Iterable[Path]) -> None:
    """Warn about archives that were built before the handler or the labels changed."""
    newest = max(path.stat().st_mtime for path in (*paths.handler_files(), paths.LABELS))
    for path in archives:
        if path.stat().st_mtime < newest:
            again = BuildCommand.read(path) or (
                "densenet archive, with the --model, --weights, --labels and --version it was built with,"
            )
            warn(f"{path.name} is older than the handler or the labels here: {again} builds it again.")


def warn_if_unpinned(archives: Iterable[Path]) -> None:
    """Warn about archives without a digest: they are from elsewhere, or older than digests."""
    for path in archives:
        if not digest_file(path).exists():
            pin = f"{shell('sha256sum', path.name)} > {shell(digest_file(path).name)}"
            warn(f"{path.name} is served unchecked: in {path.parent}, {pin} pins it.")


def warn_if_not_loaded(client: Client, archives: Iterable[Path]) -> None:
    """Warn about archives of the model store that a running server has not loaded."""
    loaded = set(client.models().values())
    for path in archives:
        if path.name not in loaded:
            warn(f"{path.name} is not loaded: densenet stop and densenet serve load it, or densenet models register.")


def warn_if_another_answers(run_dir: Path, built: Path, name: str, version: str) -> None:
    """Say what a running server answers with although `built` is there now, and what to type to change that."""
    running = Server.find(run_dir)
    if running is None:
        return
    store = running.endpoint.model_store
    flag = "" if run_dir == paths.RUN_DIR else f" --run-dir {shlex.quote(str(run_dir))}"
    from_store = "" if store == paths.MODEL_STORE else f" --model-store {shlex.quote(str(store))}"
    restart = f"densenet stop{flag}, then densenet serve{flag}{from_store}"
    try:
        loaded = [described["modelVersion"] for described in Client(running.endpoint).versions(name)]
    except CommandError as error:
        warn(f"The server that runs (pid {running.pid}) does not say which models it has ({error})")
        return
    answers = f"still answers with {name} {', '.join(loaded)}" if loaded else f"does not serve {name}"
    takes_models = properties.read(running.settings).get("enable_model_api") == "true"
    if built.resolve().parent != store.resolve():
        remedy = f"it loads models from {store}; build it there with --model-store"
    elif not takes_models:
        remedy = f"type {restart}"
    elif not loaded:
        remedy = f"type densenet models register {built.name}{flag}"
    elif version in loaded:
        remedy = f"type {restart}, or build it with another --version, which densenet models upgrade loads"
    else:
        remedy = f"type densenet models upgrade {built.name}{flag}"
    warn(f"The server that runs (pid {running.pid}) {answers}: {remedy}.")


def warn_if_exposed(running: Server) -> None:
    """Warn if other machines reach a server that takes models."""
    if said := exposure.warning(properties.read(running.settings)):
        warn(said)
