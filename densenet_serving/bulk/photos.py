"""The photos of a source: where each one's bytes are, and then these bytes, or why they cannot be read.

folder       every photo in it, and every photo in its .tar shards (WebDataset); with a column, its .parquet files
.tar         the photos in it
.parquet     a column of paths or of encoded photos
.txt, .list  a path or URI a line
anything else is one photo
"""

from __future__ import annotations

import io
import os
import sys
import tarfile
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

import pyarrow as pa
from pyarrow import fs

from densenet_serving.bulk.cells import MOST_GROUP_BYTES, Cells, bytes_in
from densenet_serving.bulk.filesystems import (
    absolute,
    is_uri,
    locate,
    open_file,
    retried,
    suffix,
    walk,
    without_query,
)
from densenet_serving.errors import CommandError, reason_of
from densenet_serving.photo_files import LeftOut, is_lost, is_photo, photos_in_tar

SHARDS = {".tar", ".parquet"}
DAMAGE = (OSError, MemoryError, pa.ArrowInvalid, tarfile.TarError)
# Photos that are being read or wait for the decoder: a store may take 50 ms for what a core classifies in 25.
AHEAD = 16


@dataclass(frozen=True)
class Photo:
    """Where a photo's bytes are: the file `path`, or a place in `file`.

    In a .tar, `offset` and `size` are bytes. In Parquet they are the row group and the row in it.
    """

    path: str
    file: str | None = None
    offset: int = 0
    size: int = 0

    @property
    def is_damage(self) -> bool:
        """Tell whether it stands for the photos of a shard that could not be listed."""
        return self.file is None and suffix(self.path) in SHARDS


@dataclass(frozen=True)
class Unreadable:
    """Why there are no bytes. `code` is the HTTP status of the same meaning: 404, 413, or 502 if a store fails."""

    code: int
    message: str


def find(source: str, column: str | None, left_out: LeftOut) -> Iterator[Photo]:
    """Yield every photo of a source, in an order that depends on nothing else.

    What else is in a folder is added to `left_out`; the other members of a shard, which are labels, are not.
    Raises CommandError if the source is missing, damaged or has no such column.
    """
    name = absolute(source)
    file_system, path = locate(name)
    try:
        kind = file_system.get_file_info(os.fsencode(path)).type
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
        elif is_photo(without_query(file)) or (not is_uri(file) and is_lost(file)):
            yield Photo(file)
        elif kind == ".tar":
            yield from _or_damage(file, _in_tar(file))
        elif kind != ".parquet":  # which may be this job's own output, in the folder that it classifies
            left_out.add(file)


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


def _in_list(file: str) -> Iterator[Photo]:
    file_system, path = locate(file)
    with file_system.open_input_stream(os.fsencode(path)) as stream:
        for line in io.TextIOWrapper(stream, "utf-8", "surrogateescape", newline="\n"):
            if line.strip():
                yield Photo(absolute(line.strip()))


def _in_tar(file: str) -> Iterator[Photo]:
    with open_file(file) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
        for member in photos_in_tar(tar):
            yield Photo(f"{file}/{member.name}", file, member.offset_data, member.size)


def _in_parquet(file: str, column: str | None) -> Iterator[Photo]:
    with open_file(file) as stream:
        cells = Cells(file, stream, column)
        for group, rows in enumerate(cells.rows):
            if cells.are_paths:
                yield from (Photo(absolute(path.as_py() or "")) for path in cells.read(group))
            else:
                yield from (Photo(f"{file}#{group}/{row}", file, group, row) for row in range(rows))


class Reader:
    """Reads photos ahead of whoever decodes them, a bounded number at a time."""

    def __init__(
        self, column: str | None, most_bytes: int = sys.maxsize, most_group_bytes: int = MOST_GROUP_BYTES
    ) -> None:
        """A photo is cut off after `most_bytes`: more than the handler's max_image_bytes, so that it refuses."""
        self._column, self._most_bytes, self._most_group_bytes = column, most_bytes, most_group_bytes
        self._threads = ThreadPoolExecutor(AHEAD, thread_name_prefix="reader")
        self._lock = Lock()
        self._place: tuple[str, int] | None = None
        self._cells: pa.ChunkedArray = pa.chunked_array([], pa.binary())

    def read_all(self, photos: Iterable[Photo]) -> Iterator[bytes | Unreadable]:
        """Yield the bytes of each photo, in order."""
        waiting: deque[Future[bytes | Unreadable]] = deque()
        for photo in photos:
            waiting.append(self._threads.submit(self.read, photo))
            if len(waiting) == AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def read(self, photo: Photo) -> bytes | Unreadable:
        if photo.is_damage:
            return Unreadable(
                502, "The shard is damaged or cut short: photos of it are missing, so repair or leave it out."
            )
        try:
            content = retried(lambda: self._read(photo))
        except FileNotFoundError:
            return Unreadable(404, "The photo is not there: check the path.")
        except MemoryError as error:
            return Unreadable(
                413, f"The photo cannot be read ({reason_of(error)}): write the file again with fewer rows in a group."
            )
        except (OSError, CommandError, pa.ArrowInvalid) as error:
            return Unreadable(
                502, f"The photo cannot be read ({reason_of(error)}): check its permissions and the store."
            )
        if content is None:
            return Unreadable(404, "The row holds no photo: expected the bytes of an encoded one.")
        return content[: self._most_bytes]

    def _read(self, photo: Photo) -> bytes | None:
        if photo.file is not None and suffix(photo.file) == ".parquet":
            return self._cell(photo.file, photo.offset, photo.size)
        with open_file(photo.file or photo.path) as file:
            size = photo.size if photo.file else file.size()
            content: bytes = file.read_at(min(size, self._most_bytes), photo.offset)
            return content

    def _cell(self, file: str, group: int, row: int) -> bytes | None:
        """Read one row of a column. The row group is kept, since the next photo is most likely its next row."""
        with self._lock:
            if self._place != (file, group):
                with open_file(file) as stream:
                    self._cells = Cells("The file", stream, self._column).read(group, self._most_group_bytes)
                self._place = (file, group)
            return bytes_in(self._cells[row])
