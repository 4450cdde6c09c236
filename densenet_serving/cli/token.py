"""Print a token for the running server."""

from __future__ import annotations

from typing import Annotated, get_args

import typer

from densenet_serving import paths
from densenet_serving.client.endpoint import Endpoint, Scope
from densenet_serving.errors import CommandError
from densenet_serving.options import RunDir


def token(
    scope: Annotated[str, typer.Argument(help="inference or management.")] = "inference",
    run_dir: RunDir = paths.RUN_DIR,
    header: Annotated[
        bool, typer.Option("--header", help="Print a header for curl -H @-; as an argument, other users could see it.")
    ] = False,
) -> None:
    """Print a valid token. If the last one has expired, get a new one."""
    if scope not in get_args(Scope):
        raise CommandError(f"There is no {scope} token: choose {' or '.join(get_args(Scope))}.")
    valid = Endpoint.find(run_dir).token("inference" if scope == "inference" else "management")
    print(f"Authorization: Bearer {valid}" if header else valid)
