"""Whether a file system has room for what is about to be written."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path

from scripts.errors import CommandError

MEGABYTE = 1_000_000


def check_space(folder: Path, needed: int, purpose: str, remedy: str) -> None:
    """Raise CommandError where a folder's file system has fewer free bytes than will be needed.

    TorchServe and PyTorch answer a full disk with stack traces or with silence, so it is asked before them.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise CommandError(
            f"{purpose} needs {needed // MEGABYTE} MB, and {folder} has {free // MEGABYTE} MB left: "
            f"make room, or {remedy}."
        )


def unpacked_size(archives: Iterable[Path]) -> int:
    """Sum up the bytes that TorchServe will unpack."""
    total = 0
    for path in archives:
        with zipfile.ZipFile(path) as archive:
            total += sum(member.file_size for member in archive.infolist())
    return total
