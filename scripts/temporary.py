"""Folders for sockets and native code, in the first place that will do: not every temporary folder will."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from scripts.console import warn
from scripts.errors import CommandError

# The longest path of a Unix socket: Linux has 108 bytes for it, and a zero at its end.
SOCKET_BYTES = 107
RANDOM = 8  # characters that tempfile adds to a name


def make_temporary(prefix: str, longest: int, *, last: Path | None = None, runs_code: bool = False) -> Path:
    """Make a folder whose path has at most `longest` bytes, for its owner alone.

    It is in $TMPDIR, or in the system's own folders, or in `last`. With `runs_code` it is not mounted noexec. Raises
    CommandError, which says what is wrong with each place.
    """
    unfit: dict[Path, str] = {}
    for place in _places(last):
        if wrong := _wrong_with(place, longest - 1 - len(prefix) - RANDOM, runs_code):
            unfit[place] = wrong
            continue
        if unfit:
            warn(f"Temporary files are in {place}: {_listed(unfit)}.")
        return Path(tempfile.mkdtemp(prefix=prefix, dir=place))
    raise CommandError(f"No folder will do for temporary files ({_listed(unfit)}): set TMPDIR to one that will.")


def _places(last: Path | None) -> Iterator[Path]:
    named = [Path(value).absolute() for name in ("TMPDIR", "TEMP", "TMP") if (value := os.environ.get(name))]
    system = [Path("/tmp"), Path("/var/tmp")]  # noqa: S108
    yield from dict.fromkeys([*named[:1], *system, *([last] if last else [])])


def _wrong_with(place: Path, longest: int, runs_code: bool) -> str | None:
    """Say why a folder will not do, or return None."""
    if not place.is_dir():
        return "is no folder"
    if not os.access(place, os.W_OK | os.X_OK):
        return "is not writable"
    if runs_code and os.statvfs(place).f_flag & os.ST_NOEXEC:
        return "is mounted noexec, and native code is loaded from it"
    if (length := len(os.fsencode(place))) > longest:
        return f"is too long for a socket's path ({length} bytes instead of {longest})"
    return None


def _listed(unfit: dict[Path, str]) -> str:
    return "; ".join(f"{place} {wrong}" for place, wrong in unfit.items())
