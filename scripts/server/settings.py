"""TorchServe's settings for one run: the user's own, and what is computed around them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from handler.cores import default_workers
from scripts import properties
from scripts.archives.model_store import load_models
from scripts.errors import CommandError
from scripts.server import exposure, heap, tls
from scripts.server.ports import DEFAULT_ADDRESSES, ports_from


def settings_of(
    config: Path, model_store: Path, archives: list[Path], port: int | None, changes: Mapping[str, str]
) -> dict[str, str]:
    """Put together what TorchServe is started with: `changes` win over all else, `config` over the defaults.

    Of the model store `archives` are loaded, each checked first, and nothing else. Raises CommandError.
    """
    values = DEFAULT_ADDRESSES | {"default_workers_per_model": str(default_workers())} | properties.read(config)
    values |= {"model_store": str(model_store.resolve()), "load_models": load_models(archives)}
    if port is not None:
        values |= ports_from(port)
    if "metrics_config" in values:
        values |= {"metrics_config": str(find_metrics(config, values["metrics_config"]))}
    values |= changes
    values["vmargs"] = heap.bounded(values)
    exposure.check_models_cannot_come_from_elsewhere(values)
    return tls.secure(values, config.parent)


def find_metrics(config: Path, named: str) -> Path:
    """Find the metrics file as the settings name it, from their own folder. Raises CommandError."""
    path = config.resolve().parent / named
    if not path.is_file():
        raise CommandError(f"There is no {path}, which {config} names as metrics_config: correct or remove that line.")
    return path
