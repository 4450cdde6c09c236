"""TorchServe's settings for one run: the user's own, and those that are computed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from densenet_serving import properties
from densenet_serving.build.archives import Archive, load_models
from densenet_serving.errors import CommandError
from densenet_serving.server import exposure, heap, tls
from densenet_serving.server.ports import DEFAULT_ADDRESSES, ports_from
from handler.cores import configured_workers, default_workers


def settings_of(
    config: Path, model_store: Path, archives: Iterable[Archive], port: int | None, changes: Mapping[str, str]
) -> dict[str, str]:
    """Compute the settings that TorchServe is started with: `changes` win over all others, `config` over the defaults.

    Of the model store, TorchServe loads `archives` and nothing else. Raises CommandError.
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


def workers_of(archive: Archive, values: Mapping[str, str]) -> int:
    """Return how many workers TorchServe starts for an archive with these settings."""
    return configured_workers(archive.config, int(values["default_workers_per_model"]))


def find_metrics(config: Path, named: str) -> Path:
    """Find the metrics file that the settings name, relative to their own folder. Raises CommandError."""
    path = config.resolve().parent / named
    if not path.is_file():
        raise CommandError(f"There is no {path}, which {config} names as metrics_config: correct or remove that line.")
    return path


def changes_of(fixed_models: bool, certificate: Path | None = None, key: Path | None = None) -> dict[str, str]:
    """Translate the options of a command into TorchServe's settings."""
    changes = {"enable_model_api": "false"} if fixed_models else {}
    files = {"certificate_file": certificate, "private_key_file": key}
    return changes | {name: str(path.absolute()) for name, path in files.items() if path}


def json_lines(config: Path) -> dict[str, str]:
    """Add to the JVM's arguments the one that makes densenet_serving/server/log4j2.xml write each line as JSON."""
    given = properties.read(config).get("vmargs", "")
    return {"vmargs": f"{given} -Dlog.format=json".strip()}
