"""Files that only their owner may read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TextIO


def private_file(path: Path) -> TextIO:
    """Open an empty file for writing that nobody else may read, whatever the umask is and the file was before."""
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w")
