"""Find photos: in folders, whatever links and damage they hold, and in .tar files.

classify, bulk, calibration and training find the same ones, since all of them ask here.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

# The formats that handler/images.py reads.
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif"}
# macOS keeps what it knows about a file x beside it, in ._x.
APPLE_DOUBLE = "._"
NAMED = 3
TAR_BLOCK = 512


@dataclass
class LeftOut:
    """Files that are not used, such as those that are no photos by their names: how many, and the first few of them."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, name: str) -> None:
        self.count += 1
        if len(self.first) < NAMED:
            self.first.append(name)

    @property
    def names(self) -> str:
        more = self.count - len(self.first)
        return ", ".join(self.first) + (f" and {more:,} more" if more else "")

    def __str__(self) -> str:
        ends = f"Left out, since the names of images end in {expected()}"
        begins = f" and do not begin with {APPLE_DOUBLE}" * any(APPLE_DOUBLE in name for name in self.first)
        return f"{ends}{begins}: {self.names}."


def expected() -> str:
    return ", ".join(sorted(SUFFIXES))


def is_photo(name: str) -> bool:
    """Tell by its name, a path or a URI without its query, whether a file is a photo."""
    path = PurePosixPath(name)
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(APPLE_DOUBLE)


def photos_in(folder: str, left_out: LeftOut) -> Iterator[str]:
    """Yield what `walk` finds and `is_photo` or `is_lost` takes; the others are added to `left_out`."""
    for name in walk(folder):
        if is_photo(name) or is_lost(name):
            yield name
        else:
            left_out.add(name)


def is_lost(name: str) -> bool:
    """Tell whether photos may be missing behind a name of `walk`: it is a folder, or a link that may have led to one.

    Reading it then fails with the reason.
    """
    return os.path.isdir(name) or (not PurePosixPath(name).suffix and not os.path.exists(name))  # noqa: PTH110, PTH112


def walk(folder: str) -> Iterator[str]:
    """Yield the files in a folder and its folders, in the order of their names, whether links lead to them or not.

    A folder is entered once, under its own name if it is inside, so that no link is a loop. A link that leads nowhere
    is yielded too, and so is a folder that cannot be listed: what becomes of it is for the reader to say. Pipes and
    devices are not.
    """
    top = os.path.realpath(folder)
    entered = {top}

    def below(folder: str) -> Iterator[str]:
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError:
            yield folder
            return
        for entry in entries:
            if not _is(entry.is_dir):
                if _is(entry.is_file) or not os.path.exists(entry.path):  # noqa: PTH110 - it raises nothing
                    yield str(Path(entry.path))
                continue
            real = os.path.realpath(entry.path)
            inside = entry.is_symlink() and Path(real).is_relative_to(top)
            if real not in entered and not inside:
                entered.add(real)
                yield from below(entry.path)

    return below(folder)


def _is(kind: Callable[[], bool]) -> bool:
    try:
        return kind()
    except OSError:  # a link to itself
        return False


def photos_in_tar(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the photos of an open .tar file. Raises tarfile.TarError at the place where it is damaged or cut short.

    The library takes that for the end of the file.
    """
    for member in tar:
        if member.isreg() and is_photo(member.name):
            yield member
    if tar.fileobj is not None:
        tar.fileobj.seek(tar.offset)
        if tar.fileobj.read(TAR_BLOCK).strip(b"\0"):
            raise tarfile.ReadError(f"no member begins at byte {tar.offset:,}")
