"""Stop the TorchServe that `densenet serve` started."""

from __future__ import annotations

from scripts import paths
from scripts.console import note, run
from scripts.options import RunDir
from scripts.server import Server


def stop(run_dir: RunDir = paths.RUN_DIR) -> None:
    """Stop the server; harmless where none runs."""
    server = Server.find(run_dir)
    if server is None:
        note("No server is running.")
        return
    server.stop()
    note(f"Stopped (pid {server.pid}).")


if __name__ == "__main__":
    run(stop)
