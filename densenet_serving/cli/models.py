"""Manage the models of the running server through TorchServe's management API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.status import Status
from rich.table import Table

from densenet_serving import paths
from densenet_serving.build.archives import Archive, notice_of_description
from densenet_serving.client.endpoint import Endpoint
from densenet_serving.client.http import Client
from densenet_serving.console import err, note, out, plain, warn
from densenet_serving.errors import CommandError
from densenet_serving.options import AsJson, RunDir, Timeout
from densenet_serving.server import upgrade
from densenet_serving.server.capacity import check_memory_for_more

app = typer.Typer(
    no_args_is_help=True,
    help="List, describe, register, upgrade, roll back, scale, set the default of and unregister models.",
)

Model = Annotated[str, typer.Argument(help="The model's name.")]
ArchivePath = Annotated[Path, typer.Argument(help="An archive in the server's model store.", metavar="ARCHIVE")]
Version = Annotated[str, typer.Option(help="One version.", show_default="the default one")]


@app.command("list")
def list_models(as_json: AsJson = False, run_dir: RunDir = paths.RUN_DIR) -> None:
    """List every version of every registered model."""
    client = connect(run_dir)
    models = [version for name in client.models() for version in client.versions(name)]
    rows = [
        {
            "name": model["modelName"],
            "version": model["modelVersion"],
            "archive": model["modelUrl"],
            "workers": len(model["workers"]),
            "ready": sum(worker["status"] == "READY" for worker in model["workers"]),
            "batch_size": model["batchSize"],
        }
        for model in models
    ]
    if as_json or not out.is_terminal:
        print(json.dumps(rows, indent=2))
        return
    table = Table("Model", "Version", "Archive", "Workers ready", "Batch size", box=None, header_style="bold")
    for row in rows:
        ready = f"{row['ready']} of {row['workers']}"
        style = "green" if row["ready"] == row["workers"] > 0 else "red"
        names = (plain(row[key]) for key in ("name", "version", "archive"))
        table.add_row(*names, f"[{style}]{ready}[/]", str(row["batch_size"]))
    out.print(table)


@app.command()
def describe(model: Model, version: Version = "", as_json: AsJson = False, run_dir: RunDir = paths.RUN_DIR) -> None:
    """Show a model's card, settings and workers."""
    described = connect(run_dir).describe(model, version)
    if as_json or not out.is_terminal:
        print(json.dumps(described, indent=2))
    else:
        out.print_json(data=described)
    if said := notice_of_description(described):
        note(said)


@app.command()
def register(
    path: ArchivePath,
    workers: Annotated[
        int | None, typer.Option(min=1, help="The number of workers, instead of the archive's own.")
    ] = None,
    run_dir: RunDir = paths.RUN_DIR,
) -> None:
    """Register an archive and wait until its workers are ready. If they fail, it is unregistered again."""
    endpoint = Endpoint.find(run_dir)
    client = Client(endpoint)
    store = endpoint.model_store
    archive = Archive.read(store / stored(path, store))
    name, version = archive.name, archive.version
    if upgrade.version_of(client, name, version):
        raise CommandError(f"{name} {version} is registered already: unregister it first, or build another --version.")
    try:
        client.register(path.name)
    except CommandError:
        # TorchServe keeps a model whose workers failed, and a second try would find it registered already.
        if upgrade.version_of(client, name, version):
            client.unregister(name, version)
        raise
    if workers:
        client.scale(name, workers, version)
    note(f"Registered {name} {version}.")


def stored(path: Path, store: Path) -> str:
    """Return an archive's name in the server's model store. Raises CommandError if it is elsewhere."""
    if path.name != str(path) and path.resolve().parent != store.resolve():
        raise CommandError(f"{path} is not in the server's model store: build it there with --model-store {store}.")
    return path.name


@app.command("upgrade")
def upgrade_model(path: ArchivePath, timeout: Timeout = 60, run_dir: RunDir = paths.RUN_DIR) -> None:
    """Replace a model's default version with an archive, without losing a request."""
    endpoint = Endpoint.find(run_dir)
    with Status("Upgrading", console=err):
        tell(upgrade.upgrade(endpoint, stored(path, endpoint.model_store), timeout, note), timeout)


@app.command()
def rollback(
    model: Annotated[str | None, typer.Argument(help="The model's name.", show_default="the only one upgraded")] = None,
    timeout: Timeout = 60,
    run_dir: RunDir = paths.RUN_DIR,
) -> None:
    """Go back, once, to the archive that the last upgrade replaced, without losing a request."""
    with Status("Rolling back", console=err):
        tell(upgrade.rollback(Endpoint.find(run_dir), model, timeout, note), timeout)


def tell(drained: bool, timeout: float) -> None:
    if not drained:
        warn(
            f"The version that was replaced still has requests after {timeout:.0f} s, by its own address: end them and "
            "unregister it with densenet models unregister."
        )


@app.command()
def scale(
    model: Model,
    workers: Annotated[int, typer.Argument(min=0, help="The number of workers.")],
    version: Version = "",
    run_dir: RunDir = paths.RUN_DIR,
) -> None:
    """Set a model's number of workers and wait until they are ready."""
    client = connect(run_dir)
    check_memory_for_more(client, workers - client.describe(model, version, card=False)["minWorkers"])
    client.scale(model, workers, version)
    note(f"{model} has {workers} worker{'s' if workers != 1 else ''}.")


@app.command()
def default(
    model: Model, version: Annotated[str, typer.Argument(help="The version.")], run_dir: RunDir = paths.RUN_DIR
) -> None:
    """Choose the version that answers if a request names none."""
    connect(run_dir).set_default(model, version)
    note(f"{model} {version} is the default.")


@app.command()
def unregister(model: Model, version: Version = "", run_dir: RunDir = paths.RUN_DIR) -> None:
    """Unregister a version of a model."""
    connect(run_dir).unregister(model, version)
    note(f"Unregistered {model} {version}".rstrip() + ".")


def connect(run_dir: Path) -> Client:
    return Client(Endpoint.find(run_dir))
