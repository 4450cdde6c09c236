"""Start TorchServe in the background and return once it has classified a photo."""

from __future__ import annotations

from typing import Annotated

import typer

from densenet_serving.options import ServeOptions, takes
from densenet_serving.server.drain import supervise
from densenet_serving.server.run_folder import sole_command
from densenet_serving.server.start import start_or_find


@takes(ServeOptions)
def serve(
    options: ServeOptions,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65531, help="The first of five ports in a row, instead of those in config.properties."),
    ] = None,
) -> None:
    """Start TorchServe on every archive of the model store. If there is none, build one first."""
    with sole_command(options.run_dir):
        server = start_or_find(options, port)
    if options.foreground:
        supervise(server, None, options.timeout)
