"""Start TorchServe in the background and return once it has classified a photo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from densenet_serving import paths
from densenet_serving.console import relative
from densenet_serving.errors import CommandError
from densenet_serving.options import FixedModels, ModelStore, RunDir, Timeout
from densenet_serving.server.drain import stop_gently
from densenet_serving.server.lock import sole_command
from densenet_serving.server.settings import changes_of, json_lines
from densenet_serving.server.start import start_or_find
from densenet_serving.server.supervision import Signals, watch
from densenet_serving.server.torchserve import Server


def serve(
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65531, help="The first of five ports in a row, instead of those in config.properties."),
    ] = None,
    model_store: ModelStore = paths.MODEL_STORE,
    run_dir: RunDir = paths.RUN_DIR,
    config: Annotated[Path, typer.Option(help="TorchServe's settings.")] = paths.SERVER_CONFIG,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay, and stop the server on SIGTERM or SIGHUP.")
    ] = False,
    timeout: Timeout = 60,
    fixed_models: FixedModels = False,
    tls_cert: Annotated[Path | None, typer.Option(help="Serve https with this certificate (PEM, RSA).")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="The certificate's private key (PEM, PKCS #8).")] = None,
    json_logs: Annotated[bool, typer.Option("--json-logs", help="Write each line of the logs as JSON.")] = False,
) -> None:
    """Start TorchServe on every archive of the model store. If there is none, build one first."""
    changes = changes_of(fixed_models, tls_cert, tls_key) | (json_lines(config) if json_logs else {})
    with sole_command(run_dir):
        server = start_or_find(run_dir, model_store, config, port, changes, foreground)
    if foreground:
        supervise(server, timeout)


def supervise(server: Server, timeout: float) -> None:
    """Stay until SIGTERM, Ctrl-C or the end of the terminal, then stop the server gently, as a container needs it.

    Raises CommandError if TorchServe ends by itself, or if requests were cut off.
    """
    if watch({"TorchServe": server.process}, Signals().end):
        server.stop()
        raise CommandError(f"TorchServe ended by itself: {relative(server.logs)} tells more.")
    if not stop_gently(server, timeout):
        raise CommandError("The server ended before its last answer.")
