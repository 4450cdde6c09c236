"""Build a model archive (.mar) for TorchServe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from densenet_serving import paths
from densenet_serving.build.build import build_model
from densenet_serving.build.model_store import FIRST_VERSION
from densenet_serving.build.precision import MIN_AGREEMENT, ArchivePrecision
from densenet_serving.build.spec import ModelSpec
from densenet_serving.options import MODEL, STAND_IN, Activation, ModelStore, RunDir
from densenet_serving.server.report import warn_if_another_answers
from handler.card import Interpolation, Task

OWN = "the architecture's"
Channels = tuple[float, float, float]


def archive(
    model: Annotated[str, typer.Option(help="The name to serve it under.")] = MODEL,
    weights: Annotated[str, typer.Option(help="auto, official, embedded, a path, or a URL with --sha256.")] = "auto",
    sha256: Annotated[str | None, typer.Option(help="The digest that the checkpoint must have.")] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="The class names, as JSON or one on each line.", show_default="the checkpoint's own, or ImageNet's"
        ),
    ] = None,
    model_store: ModelStore = paths.MODEL_STORE,
    version: Annotated[str, typer.Option(help="The model's version.")] = FIRST_VERSION,
    precision: Annotated[
        ArchivePrecision | None,
        typer.Option(
            help="The arithmetic, instead of that in handler/model-config.yaml. f32 is exact. int8 is faster and "
            "changes some answers. auto also prints how fast each one is here, and how many answers it changes."
        ),
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(help="Photos that int8 is calibrated on and compared with f32.", show_default="a package's"),
    ] = None,
    min_agreement: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="The share of photos to which int8 must give f32's first class.",
            show_default=str(MIN_AGREEMENT),
        ),
    ] = None,
    architecture: Annotated[
        str | None,
        typer.Option(help=f"The network: {MODEL} or {STAND_IN}.", show_default=f"that of the name, or {MODEL}"),
    ] = None,
    activation: Annotated[
        Activation | None,
        typer.Option(help="What is between the layers of a head with several.", show_default="relu"),
    ] = None,
    task: Annotated[
        Task | None,
        typer.Option(
            help="single-label: a photo has one class (softmax). multi-label: it may have several (sigmoid).",
            show_default="what the checkpoint shows, or single-label",
        ),
    ] = None,
    weights_key: Annotated[
        str | None, typer.Option(help="The weights to take from a checkpoint with several, such as model_ema.")
    ] = None,
    resize: Annotated[int | None, typer.Option(help="Pixels of a photo's shorter side.", show_default=OWN)] = None,
    crop: Annotated[int | None, typer.Option(help="Pixels of the square that is cut out.", show_default=OWN)] = None,
    interpolation: Annotated[Interpolation | None, typer.Option(help="How to resize.", show_default=OWN)] = None,
    mean: Annotated[Channels | None, typer.Option(help="Of red, green and blue, 0 to 1.", show_default=OWN)] = None,
    std: Annotated[Channels | None, typer.Option(help="Of red, green and blue, 0 to 1.", show_default=OWN)] = None,
    run_dir: RunDir = paths.RUN_DIR,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an archive of another model.")] = False,
) -> None:
    """Build MODEL.mar, and its digest MODEL.mar.sha256, from weights, labels and the handler."""
    given = {"resize": resize, "crop": crop, "interpolation": interpolation, "mean": mean, "std": std}
    spec = ModelSpec(
        model,
        weights=weights,
        sha256=sha256,
        labels=labels,
        version=version,
        precision=precision,
        calibrate=calibrate,
        min_agreement=min_agreement,
        architecture=architecture,
        activation=activation,
        task=task,
        weights_key=weights_key,
        preprocessing={name: value for name, value in given.items() if value is not None},
    )
    path = build_model(spec, model_store, overwrite=overwrite)
    warn_if_another_answers(run_dir, path, model, version)
