"""The gateway's API keys: add, list, revoke, export."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table

from densenet_serving import paths
from densenet_serving.console import note, out
from densenet_serving.gateway.keys import ApiKeys
from densenet_serving.options import AsJson, RunDir

app = typer.Typer(
    no_args_is_help=True,
    help="Add, list and revoke the gateway's API keys. After the first is added, every request needs one.",
)

Name = Annotated[str, typer.Argument(help="The name of the key.")]


@app.command()
def add(name: Name, run_dir: RunDir = paths.RUN_DIR) -> None:
    """Make a key and print it. A running gateway asks for a key from the next request on."""
    key = ApiKeys(run_dir).add(name)
    print(key)
    note("Keep it: only its digest is stored. Clients send it as Authorization: Bearer KEY.")


@app.command("list")
def list_keys(as_json: AsJson = False, run_dir: RunDir = paths.RUN_DIR) -> None:
    """List the keys' names and when each was made."""
    rows = [{"name": name, "created": entry["created"]} for name, entry in ApiKeys(run_dir).entries().items()]
    if as_json or not out.is_terminal:
        print(json.dumps(rows, indent=2))
        return
    table = Table("Name", "Created", box=None, header_style="bold")
    for row in rows:
        table.add_row(row["name"], row["created"])
    out.print(table)


@app.command()
def revoke(name: Name, run_dir: RunDir = paths.RUN_DIR) -> None:
    """Revoke a key. After the last one nobody gets in, until another is added or the file is deleted."""
    keys = ApiKeys(run_dir)
    keys.revoke(name)
    note(f"Revoked {name}.")
    if not keys.entries():
        note(f"No key is left, and the gateway stays closed: add one, or delete {keys.path} to open it to everybody.")


@app.command()
def export(run_dir: RunDir = paths.RUN_DIR) -> None:
    """Print the names and digests of the keys as JSON: a file for densenet web --keys, as a Secret of Kubernetes."""
    print(json.dumps(ApiKeys(run_dir).entries(), indent=2))
