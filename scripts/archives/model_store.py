"""The archives of a model store, and the order in which a server loads them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from packaging.version import InvalidVersion, Version

from scripts.archive import read_manifest
from scripts.errors import CommandError


def archives_in(model_store: Path) -> list[Path]:
    return sorted(model_store.glob("*.mar"))


def load_models(archives: list[Path]) -> str:
    """List archives as TorchServe's `load_models` takes them, each proved to be sound. Raises CommandError.

    TorchServe makes the first version of a model its default, so the newest comes first.
    """
    models: dict[str, dict[str, str]] = defaultdict(dict)
    for path in archives:
        if re.search("[,=]", path.name):
            raise CommandError(f"{path} cannot be loaded under that name: rename it, without commas and equals signs.")
        model, version = read_manifest(path)
        models[model][path.name] = version
    return ",".join(name for versions in models.values() for name in newest_first(versions))


def newest_first(versions: Mapping[str, str]) -> list[str]:
    """Order the file names of one model by version, as PEP 440 does; where one has another form, as `natural` does."""
    try:
        return sorted(versions, key=lambda name: Version(versions[name]), reverse=True)
    except InvalidVersion:
        return sorted(versions, key=lambda name: natural(versions[name]), reverse=True)


def natural(version: str) -> list[str | int]:
    """Order versions as people do: 10.0 comes after 2.0."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", version)]
