"""Stop what `densenet web` and `densenet serve` started."""

from __future__ import annotations

from scripts import paths
from scripts.console import note, run
from scripts.options import RunDir, Timeout
from scripts.server.drain import stop_gently
from scripts.server.torchserve import Server
from web.gateway import Gateway


def stop(run_dir: RunDir = paths.RUN_DIR, timeout: Timeout = 60) -> None:
    """Answer the requests already accepted, refuse new ones, then stop the gateway and the server.

    If none runs, do nothing.
    """
    if gateway := Gateway.find(run_dir):
        gateway.stop(run_dir)
        note(f"Stopped the gateway (pid {gateway.pid}).")
    server = Server.read(run_dir)
    if server is None or not server.process():
        if server:
            server.stop()
        note("No server is running.")
        return
    stop_gently(server, timeout)
    note(f"Stopped (pid {server.pid}).")


if __name__ == "__main__":
    run(stop)
