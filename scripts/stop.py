"""Stop what `densenet web` and `densenet serve` started."""

from __future__ import annotations

from scripts import paths
from scripts.console import note, run, warn
from scripts.errors import CommandError
from scripts.options import RunDir, Timeout
from scripts.server.drain import drain
from scripts.server.torchserve import Server
from web.gateway import Gateway


def stop(run_dir: RunDir = paths.RUN_DIR, timeout: Timeout = 60) -> None:
    """Answer the requests already accepted, refuse new ones, then stop the gateway and the server.

    Harmless where none runs.
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


def stop_gently(server: Server, timeout: float) -> None:
    """Stop a server after its last answer, or where that takes longer than `timeout` seconds, without it."""
    try:
        if not drain(server.endpoint, timeout):
            warn(f"Some requests were not answered within {timeout:.0f} s: they are cut off.")
    except CommandError as error:
        warn(f"{error} Requests that it has accepted are cut off.")
    finally:
        server.stop()


if __name__ == "__main__":
    run(stop)
