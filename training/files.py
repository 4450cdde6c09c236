"""The files of photos in folders and .tar files."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from scripts.errors import CommandError
from scripts.photo_files import SUFFIXES

HELD_OUT_SHARE = 32  # one photo of so many calibrates instead of training


def read_photos(sources: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of every photo, one source after the other, each sorted by name.

    A source is a folder, searched with all that is in it, or a .tar file. Raises CommandError where one is neither,
    is damaged, or holds no photo.
    """
    for source in sources:
        if source.is_dir():
            yield from _from_folder(source)
        elif source.is_file():
            yield from _from_tar(source)
        else:
            raise CommandError(f"There is no folder or file {source}: name a folder of photos, or a .tar of them.")


def _from_folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not files:
        raise CommandError(f"The folder {folder} holds no photo: expected files ending in {_expected()}.")
    for path in files:
        yield str(path.relative_to(folder)), path.read_bytes()


def _from_tar(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(path) as tar:
            members = [member for member in tar if member.isfile() and _is_photo(member.name)]
            if not members:
                raise CommandError(f"{path} holds no photo: expected files ending in {_expected()}.")
            for member in sorted(members, key=lambda one: one.name):
                file = tar.extractfile(member)
                if file is not None:  # None is for folders and devices
                    yield member.name, file.read()
    except tarfile.TarError as error:
        raise CommandError(f"{path} is no .tar file, or is cut short ({error}): make or fetch it again.") from error


def is_held_out(name: str) -> bool:
    """Tell whether a photo fits the temperature and never trains: a share of the names, always the same ones."""
    return zlib.crc32(name.encode()) % HELD_OUT_SHARE == 0


def read_labelled(source: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the class index and the bytes of every photo of a folder or .tar whose files are named by it: 0281.jpg.

    Raises CommandError where a name is no index.
    """
    for name, data in read_photos([source]):
        stem = PurePosixPath(name).stem
        if not (stem.isascii() and stem.isdigit()):
            raise CommandError(
                f"{name} in {source} does not name a class: files must be named by class index, 0281.jpg."
            )
        yield int(stem), data


def _is_photo(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def _expected() -> str:
    return ", ".join(sorted(SUFFIXES))
