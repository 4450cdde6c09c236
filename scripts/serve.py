"""Start TorchServe in the background and return once it has classified a photo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.status import Status

from scripts import archive, paths, server
from scripts.client import Client
from scripts.console import err, out, run
from scripts.errors import NoWeights
from scripts.options import MODEL, STAND_IN, ModelStore, RunDir


def serve(
    port: Annotated[
        int | None, typer.Option(help="First of five ports in a row, instead of those in config.properties.")
    ] = None,
    model_store: ModelStore = paths.MODEL_STORE,
    run_dir: RunDir = paths.RUN_DIR,
    config: Annotated[Path, typer.Option(help="TorchServe's settings.")] = paths.SERVER_CONFIG,
) -> None:
    """Start TorchServe on every archive of the model store, building one first where there is none."""
    build_missing_archive(model_store)
    archives = server.archives_in(model_store)
    warn_if_stale(archives)

    running = server.Server.find(run_dir)
    if running:
        err.print(f"Already running (pid {running.pid}).", highlight=False)
    current = running or server.start(run_dir, model_store, config, port)
    try:
        with Status("Starting TorchServe", console=err) as status:
            server.wait_until_ready(current, archives, status.update)
            names = [name for name, _ in map(archive.read_manifest, archives)]
            name = MODEL if MODEL in names else names[0]
            answer = server.probe(Client(current.endpoint), name)
    except BaseException:
        if not running:  # a server that cannot answer is not left behind, nor one whose start was interrupted
            current.stop()
        raise
    report(current, name, answer)


def build_missing_archive(model_store: Path) -> None:
    """Build DenseNet-121's archive, or the stand-in's where no DenseNet weights can be had, saying so."""
    if server.archives_in(model_store):
        return
    try:
        archive.archive(MODEL, model_store=model_store)
    except NoWeights as reason:
        err.print(
            f"[yellow]{escape(str(reason))} Until then the stand-in EfficientNet-Lite0 answers, a smaller network with "
            f"ImageNet weights of its own, under its own name {STAND_IN}.[/]",
            highlight=False,
            soft_wrap=True,
        )
        archive.archive(STAND_IN, model_store=model_store)


def warn_if_stale(archives: list[Path]) -> None:
    newest = max(path.stat().st_mtime for path in (*paths.HANDLER.iterdir(), paths.LABELS) if path.is_file())
    stale = [path.name for path in archives if path.stat().st_mtime < newest]
    if stale:
        err.print(
            f"[yellow]{', '.join(stale)} is older than the handler or the labels here: "
            "densenet archive builds it anew.[/]",
            highlight=False,
        )


def report(current: server.Server, name: str, answer: dict[str, Any]) -> None:
    endpoint, folder = current.endpoint, current.endpoint.folder
    flag = "" if folder == paths.RUN_DIR else f" --run-dir {folder}"
    recognized = answer["class_name"] or "not recognized"
    rows = {
        "answer": f"{paths.SAMPLE_PHOTO.name} is {recognized} ({answer['probability']:.0%})",
        "predictions": f"{endpoint.inference}/predictions/{name}",
        "management": f"{endpoint.management}/models",
        "metrics": f"{endpoint.metrics}/metrics",
        "tokens": f"{endpoint.key_file} (densenet token{flag} prints a valid one)",
        "logs": str(current.logs),
        "stop": f"densenet stop{flag}",
    }
    if name == STAND_IN:
        rows["note"] = "the stand-in answers, DenseNet-121 has no weights here (densenet archive says how to add them)"
    for key, value in rows.items():
        out.print(f"[bold]{key:<12}[/] {value}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    run(serve)
