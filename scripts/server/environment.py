"""What TorchServe and its workers get of a person's environment, and the folder in which they keep sockets."""

from __future__ import annotations

import locale
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from scripts.console import warn
from scripts.errors import CommandError

# Variables that would change what TorchServe runs or reads. PYTHONPATH comes before the archive on the workers' path:
# with the repository on it they would run the repository's handler. TS_CONFIG_FILE wins over --ts-config: another
# server's settings, perhaps without tokens. The others make warnings errors, and letters that cannot be printed too.
FOREIGN = {"PYTHONPATH", "PYTHONWARNINGS", "PYTHONIOENCODING", "TS_CONFIG_FILE"}
# In any other locale, and in one that is not installed, Java cannot name a file outside ASCII.
UTF8_LOCALES = ("C.UTF-8", "en_US.UTF-8")
# A Unix socket's path has at most 108 bytes, and TorchServe puts its workers' sockets in the temporary folder.
LONGEST_TEMPORARY = 80
PREFIX = "densenet-"
RANDOM = 8  # characters that tempfile adds


def of_torchserve() -> dict[str, str]:
    """Return the caller's environment without what is foreign, in a locale of UTF-8 if this machine has one."""
    kept = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    name = utf8_locale()
    return kept | {"LC_ALL": name} if name else kept


def utf8_locale() -> str | None:
    before = locale.setlocale(locale.LC_ALL)
    try:
        return next((name for name in UTF8_LOCALES if _has(name)), None)
    finally:
        locale.setlocale(locale.LC_ALL, before)


def _has(name: str) -> bool:
    try:
        locale.setlocale(locale.LC_ALL, name)
    except locale.Error:
        return False
    return True


def make_temporary(run_dir: Path) -> Path:
    """Make a folder in the first place that will do: $TMPDIR, the system's own folders, the run folder.

    Raises CommandError, which says what is wrong with each.
    """
    unfit: dict[Path, str] = {}
    for place in _places(run_dir):
        if wrong := _wrong_with(place):
            unfit[place] = wrong
            continue
        if unfit:
            warn(f"TorchServe's sockets are in {place}: {listed(unfit)}.")
        return Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
    raise CommandError(
        f"No folder will do for TorchServe's sockets and the JVM's native code ({listed(unfit)}): set TMPDIR to one."
    )


def listed(unfit: dict[Path, str]) -> str:
    return "; ".join(f"{place} {wrong}" for place, wrong in unfit.items())


def _places(run_dir: Path) -> Iterator[Path]:
    named = [Path(value) for name in ("TMPDIR", "TEMP", "TMP") if (value := os.environ.get(name))]
    yield from dict.fromkeys([*named[:1], Path("/tmp"), Path("/var/tmp"), run_dir])  # noqa: S108


def _wrong_with(place: Path) -> str | None:
    """Say why a folder will not do, or return None."""
    if not place.is_dir():
        return "is no folder"
    if not os.access(place, os.W_OK | os.X_OK):
        return "is not writable"
    if os.statvfs(place).f_flag & os.ST_NOEXEC:
        return "is mounted noexec, and the JVM loads native code from it"
    if len(os.fsencode(place)) + 1 + len(PREFIX) + RANDOM > LONGEST_TEMPORARY:
        return "has too long a path for a socket"
    return None
