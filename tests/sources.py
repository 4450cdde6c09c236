"""A copy of the repository's files, as a clone has them."""

from __future__ import annotations

import shutil
from pathlib import Path

from densenet_serving import paths


def copy_sources(target: Path, *patterns: str) -> None:
    """Copy the repository without hidden files, its folder build/, and names that match a pattern."""
    others = shutil.ignore_patterns(".*", "__pycache__", *patterns)

    def left_out(folder: str, names: list[str]) -> set[str]:
        return others(folder, names) | ({"build"} if Path(folder) == paths.ROOT else set())

    shutil.copytree(paths.ROOT, target, ignore=left_out)
