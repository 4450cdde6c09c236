"""Read a model archive (.mar), and prove that it is whole and unchanged before TorchServe sees it."""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import yaml

from densenet_serving.build.build_command import command_for
from densenet_serving.errors import CommandError
from densenet_serving.files import digest_file, sha256_of

MANIFEST = "MAR-INF/MANIFEST.json"


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

        Raises CommandError if the file is missing, no archive, damaged or changed.
        """
        try:
            check_digest(path)
            with zipfile.ZipFile(path) as mar:
                if damaged := mar.testzip():
                    raise zipfile.BadZipFile(damaged)
                model = json.loads(mar.read(MANIFEST))["model"]
                unpacked_size = sum(member.file_size for member in mar.infolist())
                config = yaml.safe_load(mar.read(model["configFile"])) if "configFile" in model else {}
            return cls(path, model["modelName"], model["modelVersion"], unpacked_size, dict(config or {}))
        except FileNotFoundError as error:
            raise CommandError(f"There is no archive {path}: build it with {command_for(path)}.") from error
        except (
            zipfile.BadZipFile,
            zlib.error,
            yaml.YAMLError,
            EOFError,
            KeyError,
            OSError,
            RuntimeError,  # of a member that is encrypted or packed in a way that Python does not read
            TypeError,
            ValueError,
        ) as error:
            raise CommandError(
                f"{path} is not a model archive, or damaged: build it again with {command_for(path)}."
            ) from error


def check_digest(path: Path) -> None:
    """Compare an archive with the digest beside it. Without one, any archive passes. Raises CommandError."""
    expected_in = digest_file(path)
    if not expected_in.exists():
        return
    expected = re.match(r"[0-9a-fA-F]{64}(?=\s)", expected_in.read_text(errors="replace"))
    if not expected:
        raise CommandError(
            f"{expected_in} holds no SHA-256: build the archive again with {command_for(path)}, or delete that file to "
            "serve the archive unchecked."
        )
    digest = sha256_of(path)
    if digest != expected[0].lower():
        raise CommandError(
            f"{path} was changed or damaged after it was built: its SHA-256 is {digest}, and "
            f"{expected_in.name} says {expected[0]}. Build it again with {command_for(path)}."
        )
