"""Which files of a folder are photos: those whose names say so."""

from __future__ import annotations

from dataclasses import dataclass, field

# The formats that handler/images.py reads.
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif"}
NAMED = 3


@dataclass
class LeftOut:
    """The files of a folder that are no photos by their names: how many, and the first few of them."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, name: str) -> None:
        self.count += 1
        if len(self.first) < NAMED:
            self.first.append(name)

    def __str__(self) -> str:
        more = self.count - len(self.first)
        some = ", ".join(self.first) + (f" and {more:,} more" if more else "")
        return f"Left out, since the names of images end in {', '.join(sorted(SUFFIXES))}: {some}."
