"""`densenet`: every command under one name."""

from __future__ import annotations

import tomllib
from importlib.metadata import version
from typing import Annotated

import typer

from scripts import keys, models, paths
from scripts.archive import archive
from scripts.bulk import bulk
from scripts.classify import classify
from scripts.console import run
from scripts.examples import add_examples
from scripts.explain import explain
from scripts.labels import labels
from scripts.serve import serve
from scripts.stop import stop
from scripts.token import token
from scripts.web import web

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


if __name__ == "__main__":
    main()
