"""Build a model archive (.mar) for TorchServe."""

from __future__ import annotations

from typing import Annotated

import typer

from densenet_serving import paths
from densenet_serving.build.build import ModelSpec, build_model
from densenet_serving.options import ModelStore, RunDir, takes
from densenet_serving.server.report import warn_if_another_answers


@takes(ModelSpec)
def archive(
    spec: ModelSpec,
    model_store: ModelStore = paths.MODEL_STORE,
    run_dir: RunDir = paths.RUN_DIR,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an archive of another model.")] = False,
) -> None:
    """Build MODEL.mar, and its digest MODEL.mar.sha256, from weights, labels and the handler."""
    path = build_model(spec, model_store, overwrite=overwrite)
    warn_if_another_answers(run_dir, path, spec.model, spec.version)
