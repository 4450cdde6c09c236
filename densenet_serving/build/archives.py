"""The archives of a model store: what each is, the command that built it, and the order in which they are loaded."""

from __future__ import annotations

import json
import re
import shlex
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import yaml
from packaging.version import InvalidVersion, Version

from densenet_serving.errors import CommandError
from densenet_serving.files import atomic_write, digest_file, sha256_of
from handler.card import CARD_FILE, Weights

MANIFEST = "MAR-INF/MANIFEST.json"
FIRST_VERSION = "1.0"


@dataclass(frozen=True)
class BuildCommand:
    """The arguments of `densenet archive`, kept beside the archive so that the same can be built again.

    They are not in the archive, whose bytes must not depend on where it was built and whose card clients may read.
    `stand_in` is true if no person chose the model: `densenet serve` built it because there were no weights.
    """

    arguments: list[str]
    stand_in: bool = False

    def __str__(self) -> str:
        return shlex.join(["densenet", "archive", *self.arguments])

    @classmethod
    def of(cls, options: Mapping[str, object], *, stand_in: bool) -> Self:
        """Write down options by their names; None stands for one that was not given, and a tuple for several values."""

        def words() -> Iterator[str]:
            for name, value in options.items():
                if value is not None:
                    values = value if isinstance(value, tuple) else (value,)
                    yield from (f"--{name}", *(str(one.resolve() if isinstance(one, Path) else one) for one in values))

        return cls(list(words()), stand_in)

    @classmethod
    def read(cls, archive: Path) -> Self | None:
        """Return the command that built an archive; None if it came without, or with a damaged one."""
        try:
            return cls(**json.loads(file_of(archive).read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, archive: Path) -> None:
        with atomic_write(file_of(archive)) as partial:
            partial.write_text(json.dumps(asdict(self)) + "\n")


def file_of(archive: Path) -> Path:
    """Return the file beside an archive that holds its BuildCommand."""
    return archive.with_name(f"{archive.name}.command")


@dataclass(frozen=True)
class Archive:
    """A model archive that was checked. `unpacked_size` is in bytes, `config` what its model-config.yaml says.

    Only `Archive.read` makes one. Whoever is handed one may rely on it: the file matched its digest, every member was
    whole, and `name` and `version` are those of its manifest. Checking an archive reads all of it twice, so pass the
    object on instead of reading the file again.
    """

    path: Path
    name: str
    version: str
    unpacked_size: int
    config: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and check an archive. At a damaged member TorchServe gives up in silence and waits forever.

        An archive without a digest beside it passes. Raises CommandError if the file is missing, no archive, damaged
        or changed.
        """
        again = BuildCommand.read(path) or "densenet archive"
        if not path.is_file():
            raise CommandError(f"There is no archive {path}: build it with {again}.")
        beside = digest_file(path)
        if beside.exists() and not _fits(digest := sha256_of(path), beside):
            raise CommandError(
                f"{path} was changed or damaged after it was built: its SHA-256 is {digest}, and {beside.name} says "
                f"another. Build it again with {again}, or delete {beside.name} to serve the archive unchecked."
            )
        try:
            with zipfile.ZipFile(path) as mar:
                if damaged := mar.testzip():
                    raise zipfile.BadZipFile(damaged)
                model = json.loads(mar.read(MANIFEST))["model"]
                unpacked_size = sum(member.file_size for member in mar.infolist())
                config = yaml.safe_load(mar.read(model["configFile"])) if "configFile" in model else {}
            return cls(path, model["modelName"], model["modelVersion"], unpacked_size, dict(config or {}))
        except Exception as error:  # a file of any content: zipfile, zlib, json and yaml raise many kinds
            raise CommandError(f"{path} is not a model archive, or damaged: build it again with {again}.") from error


def _fits(digest: str, beside: Path) -> bool:
    """Say whether a file of sha256sum's form says the same; sha256sum itself takes digits of any case."""
    return beside.read_text(errors="replace").lower().split(maxsplit=1)[:1] == [digest]


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
            card = json.loads(mar.read(CARD_FILE)) if CARD_FILE in mar.namelist() else {"weights": {}}
        held, weights = (card.get("name"), card.get("version")), card["weights"]
    except Exception:  # of any kind, as in Archive.read
        return
    if (*held, weights.get("sha256")) != (name, version, weights_sha256):
        said = f"{held[0]} {held[1]}, weights from {weights.get('source')}" if held[0] else "it has no model card"
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
    """Sort one model's file names by version, as PEP 440 does, or as people do if a version has another form."""
    try:
        return sorted(versions, key=lambda name: Version(versions[name]), reverse=True)
    except InvalidVersion:
        return sorted(versions, key=lambda name: natural(versions[name]), reverse=True)


def natural(version: str) -> list[str | int]:
    """Return a sort key by which 10.0 comes after 2.0."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", version)]


def notice_of_weights(weights: Weights) -> str | None:
    """Return one sentence for weights that this project trained: their accuracy and how to get the official ones."""
    if weights.accuracy is None:
        return None
    accuracy = weights.accuracy
    return (
        f"The weights are {weights.source}: {100 * accuracy.top1:.1f} % top-1 and {100 * accuracy.top5:.1f} % top-5 on "
        f"{accuracy.evaluated_on}; densenet archive --weights official --overwrite, densenet stop and densenet serve "
        "bring torchvision's official ones if there is a network."
    )


def notice_of_description(description: Mapping[str, Any]) -> str | None:
    """Return the same for a model as the management API describes it. Other people's models have no such card."""
    match description:
        case {"customizedMetadata": {"weights": {"accuracy": {}} as weights}}:
            return notice_of_weights(Weights.from_dict(weights))
    return None
