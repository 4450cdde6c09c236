"""A file in parts that are small enough to be sent."""

from __future__ import annotations

from pathlib import Path

from scripts.download import sha256_of
from scripts.integrity import digest_file, digest_line

MEBIBYTE = 2**20


def split(path: Path, size: int) -> list[Path]:
    """Write NAME.part-00, NAME.part-01, ... of at most `size` bytes beside a file, and NAME.sha256.

    `cat NAME.part-* > NAME && sha256sum -c NAME.sha256` joins them and checks the result.
    """
    for old in path.parent.glob(f"{path.name}.part-*"):
        old.unlink()
    parts: list[Path] = []
    with path.open("rb") as file:
        while data := file.read(size):
            part = path.with_name(f"{path.name}.part-{len(parts):02}")
            part.write_bytes(data)
            parts.append(part)
    digest_file(path).write_text(digest_line(sha256_of(path), path))
    return parts
