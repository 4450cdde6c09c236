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
from densenet_serving.cli.explain import explain
from densenet_serving.cli.labels import labels
from densenet_serving.cli.serve import serve
from densenet_serving.cli.stop import stop
from densenet_serving.cli.token import token
from densenet_serving.cli.web import web
from densenet_serving.console import run

# What the help of each command shows below its options.
EXAMPLES = {
    "serve": (
        "densenet serve",
        "densenet serve --port 9080 --run-dir second",
        "densenet serve --foreground --fixed-models",
    ),
    "web": (
        "densenet web",
        "densenet web --port 8001 --torchserve-port 9080 --run-dir second",
        "densenet web --foreground --fixed-models --keys keys.json",
    ),
    "stop": ("densenet stop", "densenet stop --run-dir second"),
    "classify": (
        "densenet classify cat.jpg",
        "densenet classify photos/ --top-k 3 --csv > labels.csv",
        "densenet classify cat.jpg --url https://photos.example.org",
    ),
    "bulk": (
        "densenet bulk photos/ labels/",
        "densenet bulk s3://photos/list.parquet s3://labels/ --address auto --json",
    ),
    "explain": ("densenet explain cat.jpg -o heat.png", "densenet explain cat.jpg -o heat.png --class-id n02124075"),
    "archive": (
        "densenet archive",
        "densenet archive --model flowers --weights flowers.pth --labels flowers.txt --version 2.0",
        "densenet archive --precision int8 --calibrate photos/",
    ),
    "labels": ("densenet labels labels.json",),
    "token": ("densenet token", "densenet token --header | curl -H @- http://127.0.0.1:8080/ping"),
    "models list": ("densenet models list", "densenet models list --json"),
    "models describe": ("densenet models describe densenet121",),
    "models register": ("densenet models register densenet121-2.0.mar",),
    "models upgrade": ("densenet models upgrade densenet121-2.0.mar",),
    "models rollback": ("densenet models rollback densenet121",),
    "models scale": ("densenet models scale densenet121 4",),
    "models default": ("densenet models default densenet121 2.0",),
    "models unregister": ("densenet models unregister densenet121 --version 1.0",),
    "keys add": ("densenet keys add alice",),
    "keys list": ("densenet keys list",),
    "keys export": ("densenet keys export > keys.json",),
    "keys revoke": ("densenet keys revoke alice",),
}

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
for command in (serve, web, stop, classify, bulk, explain, archive, labels, token):
    app.command()(command)
app.add_typer(models.app, name="models")
app.add_typer(keys.app, name="keys")


def add_examples(app: typer.Typer, group: str = "") -> None:
    """Give each command of an app, and of the apps below it, its examples as the end of its help."""
    for command in app.registered_commands:
        name = command.name or command.callback.__name__ if command.callback else ""
        # Typer joins lines, but not paragraphs.
        command.epilog = "\n\n".join(("Examples:", *EXAMPLES[f"{group}{name}"]))
    for below in app.registered_groups:
        if below.typer_instance:
            add_examples(below.typer_instance, f"{below.name} ")


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
