"""The archives of a model store: how they are named, and the order in which a server loads them."""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from packaging.version import InvalidVersion, Version

from densenet_serving.build.mar import Archive
from densenet_serving.errors import CommandError
from handler.card import CARD_FILE

FIRST_VERSION = "1.0"


def archives_in(model_store: Path) -> list[Path]:
    return sorted(model_store.glob("*.mar"))


def read_all(model_store: Path) -> list[Archive]:
    """Read and check every archive of a model store. Raises CommandError at the first that cannot be trusted."""
    return [Archive.read(path) for path in archives_in(model_store)]


def file_name(model: str, version: str) -> str:
    """Name an archive in the model store: NAME.mar, or NAME-VERSION.mar for every version but the first."""
    return f"{model}.mar" if version == FIRST_VERSION else f"{model}-{version}.mar"


def refuse_another_model(path: Path, name: str, version: str, weights_sha256: str) -> None:
    """Raise CommandError if the archive at `path` holds another model than the one that is to take its place.

    Two models differ if their names, versions or weights do. A missing or damaged archive holds none.
    """
    try:
        with zipfile.ZipFile(path) as mar:
            card = json.loads(mar.read(CARD_FILE)) if CARD_FILE in mar.namelist() else {}
        weights = card.get("weights", {})
        held = (card.get("name"), card.get("version"), weights.get("sha256"))
        said = f"{held[0]} {held[1]}, weights from {weights.get('source')}" if card else "it has no model card"
    except (OSError, zipfile.BadZipFile, zlib.error, ValueError, AttributeError):
        return
    if held != (name, version, weights_sha256):
        raise CommandError(
            f"{path} holds another model ({said}) and was kept: choose another --model or --version, or replace it "
            "with --overwrite."
        )


def load_models(archives: Iterable[Archive]) -> str:
    """List archives in the form of TorchServe's `load_models`. Raises CommandError for a name it cannot hold.

    TorchServe makes the first version of a model its default, so the newest comes first.
    """
    models: dict[str, dict[str, str]] = defaultdict(dict)
    for archive in archives:
        file = archive.path.name
        if re.search("[,=]", file):
            raise CommandError(
                f"{archive.path} cannot be loaded under that name: rename it, without commas and equals signs."
            )
        models[archive.name][file] = archive.version
    return ",".join(file for versions in models.values() for file in newest_first(versions))


def newest_first(versions: Mapping[str, str]) -> list[str]:
    """Sort one model's file names by version, as PEP 440 does, or as `natural` does if a version has another form."""
    try:
        return sorted(versions, key=lambda name: Version(versions[name]), reverse=True)
    except InvalidVersion:
        return sorted(versions, key=lambda name: natural(versions[name]), reverse=True)


def natural(version: str) -> list[str | int]:
    """Return a sort key that orders versions as people do: 10.0 comes after 2.0."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", version)]
