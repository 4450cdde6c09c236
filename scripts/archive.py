"""Build a model archive (.mar) for TorchServe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from handler.settings import Precision
from scripts import paths
from scripts.archives.build import build_model
from scripts.archives.model_store import FIRST_VERSION
from scripts.console import run
from scripts.options import MODEL, STAND_IN, ModelStore


def archive(
    model: Annotated[str, typer.Option(help=f"The architecture: {MODEL} or {STAND_IN}.")] = MODEL,
    weights_from: Annotated[
        str, typer.Option("--weights", help="auto, official, embedded, a path, or a URL with --sha256.")
    ] = "auto",
    sha256: Annotated[str | None, typer.Option(help="The digest that the checkpoint must have.")] = None,
    labels: Annotated[Path, typer.Option(help="The class names, one for each class.")] = paths.LABELS,
    model_store: ModelStore = paths.MODEL_STORE,
    version: Annotated[str, typer.Option(help="The model's version.")] = FIRST_VERSION,
    precision: Annotated[
        Precision | None,
        typer.Option(help="The arithmetic, instead of that in handler/model-config.yaml; f32 is exact."),
    ] = None,
) -> None:
    """Build MODEL.mar, and its digest MODEL.mar.sha256, from weights, labels and the handler."""
    build_model(
        model,
        model_store,
        weights_from=weights_from,
        sha256=sha256,
        labels=labels,
        version=version,
        precision=precision,
    )


if __name__ == "__main__":
    run(archive)
