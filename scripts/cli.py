"""`densenet`: every command under one name."""

from __future__ import annotations

import typer

from scripts import keys, models
from scripts.archive import archive
from scripts.bulk import bulk
from scripts.classify import classify
from scripts.console import run
from scripts.explain import explain
from scripts.labels import labels
from scripts.serve import serve
from scripts.stop import stop
from scripts.token import token
from scripts.web import web

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Serve an image classifier with TorchServe.",
)
for command in (serve, web, stop, classify, bulk, explain, archive, labels, token):
    app.command()(command)
app.add_typer(models.app, name="models")
app.add_typer(keys.app, name="keys")


def main() -> None:
    run(app)


if __name__ == "__main__":
    main()
