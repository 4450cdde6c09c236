"""`densenet`: every command under one name."""

from __future__ import annotations

import tomllib
from importlib.metadata import version
from typing import Annotated

import typer

from densenet_serving import paths
from densenet_serving.cli import keys, models
from densenet_serving.cli.archive import archive
from densenet_serving.cli.bulk import bulk
from densenet_serving.cli.classify import classify
from densenet_serving.cli.examples import add_examples
from densenet_serving.cli.explain import explain
from densenet_serving.cli.labels import labels
from densenet_serving.cli.serve import serve
from densenet_serving.cli.stop import stop
from densenet_serving.cli.token import token
from densenet_serving.cli.web import web
from densenet_serving.console import run

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
for command in (serve, web, stop, classify, bulk, explain, archive, labels, token):
    app.command()(command)
app.add_typer(models.app, name="models")
app.add_typer(keys.app, name="keys")
add_examples(app)


def print_version(asked: bool) -> None:
    if asked:
        print(f"densenet {own_version()}")
        raise typer.Exit


def own_version() -> str:
    """Return the version: a checkout's from pyproject.toml, since its metadata are as old as its installation."""
    declared = paths.ROOT / "pyproject.toml"
    if not declared.is_file():
        return version(paths.NAME)
    return str(tomllib.loads(declared.read_text())["project"]["version"])


@app.callback()
def densenet(
    _: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Serve an image classifier with TorchServe."""


def main() -> None:
    run(app)
