"""The files of photos in folders and .tar files."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from densenet_serving.console import warn
from densenet_serving.errors import CommandError, reason_of
from densenet_serving.photo_files import LeftOut, expected, photos_in, photos_in_tar

HELD_OUT_SHARE = 32  # one photo of so many calibrates instead of training


def read_photos(sources: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of every photo, one source after the other, each sorted by name.

    A source is a folder, searched with all that is in it, or a .tar file. Raises CommandError where one is neither,
    or holds no photo. What cannot be read is left out, and said.
    """
    for source in sources:
        if source.is_dir():
            yield from _from_folder(source)
        elif source.is_file():
            yield from _from_tar(source)
        else:
            raise CommandError(f"There is no folder or file {source}: name a folder of photos, or a .tar of them.")


def _from_folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    files = list(photos_in(str(folder), LeftOut()))
    if not files:
        raise CommandError(f"The folder {folder} holds no photo: expected files ending in {expected()}.")
    unread = LeftOut()
    for name in files:
        try:
            yield str(Path(name).relative_to(folder)), Path(name).read_bytes()
        except OSError as error:
            unread.add(f"{name} ({reason_of(error)})")
    if unread.count:
        warn(f"Left out of {folder}, since they cannot be read: {unread.names}.")


def _from_tar(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(path) as tar:
            members, damage = _members(tar)
            if not members:
                raise CommandError(f"{path} holds no photo{damage}: expected files ending in {expected()}.")
            if damage:
                warn(f"{path} is damaged or cut short{damage}: only the {len(members):,} photos before are used.")
            for member in sorted(members, key=lambda one: one.name):
                if (data := _data(tar, member)) is not None:
                    yield member.name, data
    except tarfile.TarError as error:
        raise CommandError(f"{path} is no .tar file, or is cut short ({error}): make or fetch it again.") from error


def _data(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes | None:
    """Read a member; None is for the one in which a .tar is cut short."""
    try:
        file = tar.extractfile(member)
        return file.read() if file else None
    except (tarfile.TarError, EOFError):
        return None


def _members(tar: tarfile.TarFile) -> tuple[list[tarfile.TarInfo], str]:
    """List the photos, and say in brackets where the list breaks off, if it does."""
    members: list[tarfile.TarInfo] = []
    try:
        for member in photos_in_tar(tar):
            members.append(member)  # noqa: PERF402 - those before an error count too
    except (tarfile.TarError, EOFError) as error:
        return members, f" ({error})"
    return members, ""


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
