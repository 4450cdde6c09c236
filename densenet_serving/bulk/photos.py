"""List the photos of a source: where each one's bytes are, without reading them.

folder       every photo in it, and every photo in its .tar shards (WebDataset); with a column, its .parquet files
.tar         the photos in it
.parquet     a column of paths or of encoded photos
.txt, .list  a path or URI a line
anything else is one photo
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
from pyarrow import fs

from densenet_serving.bulk.cells import Cells
from densenet_serving.bulk.filesystems import absolute, holds_photo, locate, open_file, raw, suffix, walk
from densenet_serving.errors import CommandError, reason_of
from densenet_serving.photo_files import LeftOut, photos_in_tar

SHARDS = {".tar", ".parquet"}
DAMAGE = (OSError, pa.ArrowInvalid, tarfile.TarError)


@dataclass(frozen=True)
class Photo:
    """Where a photo's bytes are: the file `path`, or a place in `file`.

    In a .tar, `offset` and `size` are bytes. In Parquet they are the row group and the row in it.
    """

    path: str
    file: str | None = None
    offset: int = 0
    size: int = 0


def find(source: str, column: str | None, left_out: LeftOut) -> Iterator[Photo]:
    """Yield every photo of a source, in an order that depends on nothing else.

    What else is in a folder is added to `left_out`; the other members of a shard, which are labels, are not.
    Raises CommandError if the source is missing, damaged or has no such column.
    """
    name = absolute(source)
    file_system, path = locate(name)
    try:
        kind = file_system.get_file_info(raw(path)).type
        if kind == fs.FileType.NotFound:
            raise CommandError(f"There is no {source}: check the path.")
        yield from _in_folder(name, column, left_out) if kind == fs.FileType.Directory else _in_file(name, column)
    except DAMAGE as error:
        raise CommandError(
            f"The photos of {source} cannot be listed ({reason_of(error)}): repair it, or leave it out."
        ) from error


def _in_folder(folder: str, column: str | None, left_out: LeftOut) -> Iterator[Photo]:
    for file in walk(folder):
        kind = suffix(file)
        if column is not None:
            if kind == ".parquet":
                yield from _or_damage(file, _in_parquet(file, column))
        elif holds_photo(file):
            yield Photo(file)
        elif kind == ".tar":
            yield from _or_damage(file, _in_tar(file))
        elif kind != ".parquet":  # which may be this job's own output, in the folder that it classifies
            left_out.add(file)


def _or_damage(file: str, photos: Iterator[Photo], alone: bool = False) -> Iterator[Photo]:
    """Yield the photos of a shard; where it is damaged, the shard itself, for a row that says so.

    Raises what is wrong with one that is the whole source and has not a photo.
    """
    found = False
    try:
        for photo in photos:
            found = True
            yield photo
    except DAMAGE:
        if alone and not found:
            raise
        yield Photo(file)


def is_damaged(photo: Photo) -> bool:
    """Tell whether a photo stands for those of a shard that could not be listed."""
    return photo.file is None and suffix(photo.path) in SHARDS


def _in_file(file: str, column: str | None) -> Iterator[Photo]:
    match suffix(file):
        case ".parquet":
            yield from _in_parquet(file, column)
        case ".tar":
            yield from _or_damage(file, _in_tar(file), alone=True)
        case ".txt" | ".list":
            yield from _in_list(file)
        case _:
            yield Photo(file)


def _in_list(file: str) -> Iterator[Photo]:
    file_system, path = locate(file)
    with file_system.open_input_stream(raw(path)) as stream:
        for line in _lines(stream):
            if line.strip():
                yield Photo(absolute(line.strip()))


def _lines(stream: pa.NativeFile) -> Iterator[str]:
    rest = b""
    while chunk := stream.read(1 << 20):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line.decode(errors="surrogateescape") for line in lines)
    yield rest.decode(errors="surrogateescape")


def _in_tar(file: str) -> Iterator[Photo]:
    with open_file(file) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
        for member in photos_in_tar(tar):
            yield Photo(f"{file}/{member.name}", file, member.offset_data, member.size)


def _in_parquet(file: str, column: str | None) -> Iterator[Photo]:
    with open_file(file) as stream:
        cells = Cells(file, stream, column)
        for group in range(cells.groups):
            if cells.are_paths:
                yield from (Photo(absolute(path.as_py() or "")) for path in cells.read(group))
                continue
            for row in range(cells.rows(group)):
                yield Photo(f"{file}#{group}/{row}", file, group, row)
