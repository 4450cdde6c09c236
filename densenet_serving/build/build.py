"""Build a self-contained, reproducible archive: checkpoint -> network -> exported graph -> packed .mar."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from rich.status import Status

from densenet_serving.build import notice, pack
from densenet_serving.build.build_command import BuildCommand
from densenet_serving.build.formats import identify
from densenet_serving.build.model_store import file_name, refuse_another_model
from densenet_serving.build.precision import setting_of, step_of
from densenet_serving.build.spec import NAMED_WEIGHTS, ModelSpec
from densenet_serving.build.stage import Sources, stage
from densenet_serving.console import err, note, warn
from densenet_serving.errors import CommandError
from densenet_serving.files import check_space
from handler.card import ModelCard

COPIES = 10  # of the checkpoint's bytes in the temporary folder, at most: two graphs in four stages, and some reserve


def build_model(spec: ModelSpec, model_store: Path, *, overwrite: bool = False, chosen: bool = True) -> Path:
    """Find a model's weights, build its archive, say which weights it has and return its path. Raises CommandError.

    An archive of another model is replaced only if `overwrite` is true. `chosen` is false if no person chose this
    model: it stands in for one without weights.
    """
    prepare(model_store)
    sources = find_sources(spec)
    checkpoint = sources.checkpoint
    if not overwrite:
        target = model_store / file_name(spec.model, spec.version)
        refuse_another_model(target, spec.model, spec.version, checkpoint.sha256)
    path, card = build(spec, sources, model_store)
    BuildCommand.of(spec.options(checkpoint.path, model_store), stand_in=not chosen).write(path)
    note(f"Built {path} ({path.stat().st_size / 1e6:.0f} MB), weights from {checkpoint.source}.")
    if said := notice.of_weights(checkpoint.on_card()):
        warn(said)
    if checkpoint.own:
        note(notice.of_task(card, spec.task is None))
        note(notice.of_preprocessing(card.preprocessing))
    return path


def find_sources(spec: ModelSpec) -> Sources:
    """Find the network, the weights and what int8 needs. Raises CommandError, or WeightsError."""
    graph_step = step_of(spec.precision, spec.calibrate, spec.min_agreement)
    given = Path(spec.weights)
    if spec.weights not in NAMED_WEIGHTS and given.exists():
        identify(given)
    from densenet_serving.build import networks, weights

    has_checkpoint = spec.weights != "auto"
    architecture = networks.served_as(
        spec.model, spec.architecture, has_checkpoint, spec.activation, spec.preprocessing
    )
    checkpoint = weights.stand_in() if spec.is_stand_in else weights.find(spec.weights, spec.sha256)
    return Sources(architecture, checkpoint, graph_step)


def build(spec: ModelSpec, sources: Sources, model_store: Path) -> tuple[Path, ModelCard]:
    """Build an archive and return its path and its card. It appears in the model store whole or not at all.

    Raises CommandError.
    """
    with (
        tempfile.TemporaryDirectory(prefix="densenet-archive-") as name,
        Status(f"Reading {sources.checkpoint.path.name}", console=err) as status,
    ):
        folder = Path(name)
        needed = COPIES * sources.checkpoint.path.stat().st_size
        check_space(folder, needed, "Building the archive", "set TMPDIR to another folder")
        staged = folder / "staged"
        card = stage(spec, sources, staged, status)
        status.update("Packing the archive")
        config = pack.config_with(setting_of(spec.precision), folder)
        packed = pack.run_archiver(spec.model, spec.version, staged, config, folder)
        normalized = folder / "normalized.mar"
        pack.normalize(packed, normalized)
        return pack.publish(normalized, model_store / file_name(spec.model, spec.version)), card


def prepare(model_store: Path) -> None:
    """Make the model store if there is none, before a download and the minutes that a build takes.

    Raises CommandError.
    """
    try:
        model_store.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(
            f"The model store {model_store} cannot be made ({error.strerror}): choose another --model-store."
        ) from error
    if not os.access(model_store, os.W_OK):
        raise CommandError(f"The model store {model_store} cannot be written to: choose another --model-store.")
