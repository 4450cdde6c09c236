"""Stop what `densenet web` and `densenet serve` started."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TypeVar

import typer

from densenet_serving import paths
from densenet_serving.client.endpoint import STATE_FILE as TORCHSERVE_STATE
from densenet_serving.console import note, warn
from densenet_serving.errors import ServingError
from densenet_serving.options import RunDir, Timeout
from densenet_serving.server import processes, unit
from densenet_serving.server.gateway import STATE_FILE as GATEWAY_STATE
from densenet_serving.server.gateway import Gateway
from densenet_serving.server.lock import sole_command
from densenet_serving.server.torchserve import Server

Found = TypeVar("Found")


def stop(run_dir: RunDir = paths.RUN_DIR, timeout: Timeout = 60) -> None:
    """Answer the requests already accepted, refuse new ones, then stop the gateway and the server.

    If none runs, do nothing. Exit status 1 says that requests were cut off.
    """
    with sole_command(run_dir) if is_writable(run_dir) else nullcontext():
        gateway, server = recorded(Gateway.find, run_dir), recorded(Server.read, run_dir)
        running = server if server and server.process() else None
        answered = unit.end(run_dir, running, gateway, timeout)
        lost = end_lost(run_dir)
        if server and not running:
            server.stop()  # what one that ended by itself has left
        for name in (TORCHSERVE_STATE, GATEWAY_STATE):
            (run_dir / name).unlink(missing_ok=True)  # damaged ones too
    if gateway:
        note(f"Stopped the gateway (pid {gateway.pid}).")
    if running:
        note(f"Stopped (pid {running.pid}).")
    elif not lost:
        note("No server is running.")
    if not answered:
        raise typer.Exit(1)


def is_writable(run_dir: Path) -> bool:
    """Return whether a lock can be taken: a server is stopped though its folder is gone or cannot be written to."""
    return run_dir.is_dir() and os.access(run_dir, os.W_OK)


def recorded(read: Callable[[Path], Found | None], run_dir: Path) -> Found | None:
    """Return what a run folder's record says; None if it has none, or a damaged one, which is said."""
    try:
        return read(run_dir)
    except ServingError as error:
        warn(str(error))
        return None


def end_lost(run_dir: Path) -> bool:
    """End what was started with a run folder that has no record of it any more. Returns whether there was any."""
    found = False
    for part in ("gateway", "TorchServe"):
        if lost := processes.started_for(part, run_dir):
            warn(f"{run_dir} has no record of its {part} (pid {lost[0].pid}), which still ran: ended.")
            processes.end(*lost)
            found = True
    return found
