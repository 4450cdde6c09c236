"""Folders for sockets and native code, in the first place that will do: not every temporary folder will."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from densenet_serving.console import warn
from densenet_serving.errors import CommandError

# The longest path of a Unix socket: Linux has 108 bytes for it, and a zero at its end.
SOCKET_BYTES = 107
RANDOM = 8  # characters that tempfile adds to a name
NOEXEC = "is mounted noexec"


def make_temporary(prefix: str, longest: int, *, last: Path | None = None, without_code: str = "") -> Path:
    """Make a folder whose path has at most `longest` bytes, for its owner alone.

    It is in $TMPDIR, or in the system's own folders, or in `last`. If `without_code` says what is the matter with a
    folder that is mounted noexec, such a one is only taken if there is no other. Raises CommandError, which says what
    is wrong with each place.
    """
    room = longest - 1 - len(prefix) - RANDOM
    unfit = {place: _wrong_with(place, room) for place in _places(last)}
    fit = [place for place, wrong in unfit.items() if not wrong]
    if not fit:
        raise CommandError(f"No folder will do for temporary files ({_listed(unfit)}): set TMPDIR to one that will.")
    best = next((place for place in fit if not (without_code and is_noexec(place))), None)
    chosen = best or fit[0]
    before = list(unfit)[: list(unfit).index(chosen)]
    if before:
        warn(f"Temporary files are in {chosen}: {_listed({place: unfit[place] or NOEXEC for place in before})}.")
    if not best:
        warn(f"{chosen} {NOEXEC}: {without_code}.")
    return Path(tempfile.mkdtemp(prefix=prefix, dir=chosen))


def _places(last: Path | None) -> Iterator[Path]:
    named = [Path(value).absolute() for name in ("TMPDIR", "TEMP", "TMP") if (value := os.environ.get(name))]
    system = [Path("/tmp"), Path("/var/tmp")]  # noqa: S108
    yield from dict.fromkeys([*named[:1], *system, *([last] if last else [])])


def _wrong_with(place: Path, longest: int) -> str | None:
    """Say why a folder will not do, or return None."""
    if not place.is_dir():
        return "is no folder"
    if not os.access(place, os.W_OK | os.X_OK):
        return "is not writable"
    if (length := len(os.fsencode(place))) > longest:
        return f"is too long for a socket's path ({length} bytes instead of {longest})"
    return None


def is_noexec(place: Path) -> bool:
    return bool(os.statvfs(place).f_flag & os.ST_NOEXEC)


def _listed(unfit: Mapping[Path, str | None]) -> str:
    return "; ".join(f"{place} {wrong}" for place, wrong in unfit.items())
