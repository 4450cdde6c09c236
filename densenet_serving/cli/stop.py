"""Stop what `densenet web` and `densenet serve` started."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path

import typer

from densenet_serving import paths
from densenet_serving.console import note, warn
from densenet_serving.errors import CommandError
from densenet_serving.options import RunDir, Timeout
from densenet_serving.server import drain, processes
from densenet_serving.server.gateway import Gateway
from densenet_serving.server.run_folder import clear, is_run_folder, sole_command
from densenet_serving.server.torchserve import Server


def stop(run_dir: RunDir = paths.RUN_DIR, timeout: Timeout = 60) -> None:
    """Answer the requests already accepted, refuse new ones, then stop the gateway and the server.

    If none runs, do nothing. Exit status 1 says that requests were cut off.
    """
    # A server is stopped though its folder is gone or cannot be written to.
    locked = run_dir.is_dir() and os.access(run_dir, os.W_OK)
    with sole_command(run_dir) if locked else nullcontext():
        gateway, server = Gateway.find(run_dir), found(run_dir)
        answered = drain.end(server, gateway, timeout)
        left = [one for part in processes.VARIABLES for one in processes.started_for(part, run_dir)]
        processes.end(*left)
        if is_run_folder(run_dir):
            clear(run_dir)
    if gateway:
        note(f"Stopped the gateway (pid {gateway.pid}).")
    if server:
        note(f"Stopped (pid {server.pid}).")
    if left:
        warn(f"Ended what else was started for {run_dir}: pid {', '.join(str(one.pid) for one in left)}.")
    if not (server or left):
        note("No server is running.")
    if not answered:
        raise typer.Exit(1)


def found(run_dir: Path) -> Server | None:
    """Return the run folder's server, unless its files are gone, so that nothing can be asked of it any more."""
    try:
        return Server.find(run_dir)
    except CommandError:
        return None
