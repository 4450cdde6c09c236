"""What several commands do with files: free space, digests, files that are written whole or for their owner only."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from densenet_serving.errors import CommandError

MEGABYTE = 1_000_000


def as_text(name: str) -> str:
    """Return a file's name as text that any program can take: bytes that are not UTF-8 become \\xe9 and the like."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in 64 lowercase hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_file(path: Path) -> Path:
    """Return the file beside `path` that holds its digest, in the format of sha256sum."""
    return path.with_name(f"{path.name}.sha256")


def digest_line(digest: str, path: Path) -> str:
    """Return the line that `sha256sum -c` reads."""
    return f"{digest}  {path.name}\n"


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a path to write to. When the block ends without an error, that file replaces `path` in one step.

    Whatever fails, `path` keeps what it held before and nothing else is left beside it. Each writer gets a temporary
    folder of its own, on the same file system, so two can write at a time and the last to finish wins.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        partial = Path(folder) / path.name
        yield partial
        partial.replace(path)


def private_file(path: Path) -> TextIO:
    """Open an empty file that only its owner may read (mode 0600), whatever the umask is and whatever was there."""
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w")


def check_space(folder: Path, needed: int, purpose: str, remedy: str) -> None:
    """Raise CommandError if a folder's file system has fewer than `needed` free bytes.

    TorchServe and PyTorch answer a full disk with stack traces or with silence, so check before they start.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise CommandError(
            f"{purpose} needs {needed // MEGABYTE} MB, and {folder} has {free // MEGABYTE} MB left: "
            f"make room, or {remedy}."
        )
