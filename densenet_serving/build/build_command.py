"""The command that built an archive, kept beside it so that the same archive can be built again.

It is not in the archive, whose bytes must not depend on where it was built and whose card clients may read.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from densenet_serving.files import atomic_write


@dataclass(frozen=True)
class BuildCommand:
    """The arguments of `densenet archive`.

    `stand_in` is true if no person chose the model: `densenet serve` built it because there were no weights.
    """

    arguments: list[str]
    stand_in: bool = False

    def __str__(self) -> str:
        return shlex.join(["densenet", "archive", *self.arguments])

    @classmethod
    def of(cls, options: Mapping[str, object], *, stand_in: bool) -> Self:
        """Write down options by their names; None stands for one that was not given, and a tuple for several values."""
        return cls(list(_words(options)), stand_in)

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


def command_for(archive: Path) -> str:
    """Return what to type to build a missing or damaged archive again."""
    return str(BuildCommand.read(archive) or "densenet archive")


def file_of(archive: Path) -> Path:
    return archive.with_name(f"{archive.name}.command")


def _words(options: Mapping[str, object]) -> Iterator[str]:
    for name, value in options.items():
        if value is not None:
            yield f"--{name}"
            yield from map(str, value if isinstance(value, tuple) else (value,))
