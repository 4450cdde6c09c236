"""A job and its output folder: which photos go through which model, their manifest, and the rows of each chunk.

    _job/job.json              the job: only the same one goes on
    _job/photos.parquet        the photos, listed once: each keeps its number whatever becomes of the source
    part-FIRST.parquet         the rows of the chunk that begins with photo FIRST

Exactly once follows from the names. Whoever does a chunk again, after a crash or beside a host that was cut off, writes
the same rows to the same name. A file appears whole or not at all, so the chunks that have none are what is left to do.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Self

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs
from pyarrow.compute import field
from pyarrow.dataset import dataset

from densenet_serving.bulk.filesystems import UNFINISHED, absolute, join, locate, retried, write_whole
from densenet_serving.bulk.photos import Photo, find
from densenet_serving.errors import CommandError, reason_of
from densenet_serving.files import sha256_of
from densenet_serving.photo_files import LeftOut, expected

if TYPE_CHECKING:  # a worker imports no handler but its archive's
    from densenet_serving.build.archives import Archive

# Readers of Parquet folders pass over names that begin with an underscore.
FOLDER = "_job"
PART = re.compile(r"part-(\d{12})\.parquet")
# What a message calls the fields that a job must have in common with the one that began the folder.
FIXED = {
    "source": "source",
    "column": "--column",
    "digest": "archive",
    "top_k": "--top-k",
    "min_probability": "--min-probability",
}
# The fields of Photo. A file's name need not be UTF-8.
MANIFEST = pa.schema([("path", pa.binary()), ("file", pa.binary()), ("offset", pa.int64()), ("size", pa.int64())])
# Photos in a group of the manifest, and in a chunk at most: they are a minute of one core's work, and ten million are
# 5,000 files of output.
GROUP = 2048
SMALLEST_CHUNK = 16
CHUNKS = 256  # at least, of photos enough for them: no core idles for long at the end, and little is done again
ERRORS = pa.schema([("error_code", pa.int32())])


@dataclass(frozen=True)
class Chunk:
    """The photos of numbers `first` to `first + count - 1`, which one worker classifies and writes as one file."""

    first: int
    count: int


@dataclass(frozen=True)
class Job:
    """`digest` is the archive's SHA-256; `total` photos are done in chunks of `chunk`, 0 until they were counted."""

    source: str
    output: str
    model: str
    version: str
    digest: str
    column: str | None = None
    top_k: int | None = None
    min_probability: float | None = None
    total: int = 0
    chunk: int = 0

    @classmethod
    def of(cls, source: str, output: str, archive: Archive) -> Self:
        return cls(absolute(source), absolute(output), archive.name, archive.version, sha256_of(archive.path))

    @property
    def record(self) -> str:
        return join(self.output, f"{FOLDER}/job.json")

    @property
    def manifest(self) -> str:
        return join(self.output, f"{FOLDER}/photos.parquet")

    @property
    def headers(self) -> dict[str, str]:
        """The parameters as the handler takes them, from a request's headers."""
        given = {"top-k": self.top_k, "min-probability": self.min_probability}
        return {"content-type": "application/octet-stream"} | {
            name: str(value) for name, value in given.items() if value is not None
        }

    def begin_or_resume(self, progress: Callable[[str], None]) -> Self:
        """Return the job with its photos counted: now, or when it was begun.

        Raises CommandError if another was, or if the output folder cannot be used.
        """
        try:
            file_system, path = locate(self.output)
            if file_system.get_file_info(locate(self.record)[1]).type == fs.FileType.File:
                return self._resume()
            there = file_system.get_file_info(fs.FileSelector(path, allow_not_found=True))
            if any(info.base_name != FOLDER for info in there):
                raise CommandError(f"{self.output} holds something else: choose a folder that is new or empty.")
            file_system.create_dir(f"{path}/{FOLDER}", recursive=True)
            return self._begin(progress)
        except (OSError, UnicodeEncodeError) as error:
            raise CommandError(
                f"{self.output} cannot be used ({reason_of(error)}): choose another output folder."
            ) from error

    def _begin(self, progress: Callable[[str], None]) -> Self:
        progress("Listing the photos")
        left_out = LeftOut()
        total = write_manifest(self.manifest, find(self.source, self.column, left_out))
        if not total:
            wanted = ".parquet files with rows" if self.column else f"files ending in {expected()}"
            raise CommandError(f"{self.source} holds no photo: expected {wanted}.")
        if left_out.count:
            progress(f"{left_out} Name such photos in a .txt file to classify them too.")
        begun = replace(self, total=total, chunk=chunk_size(total))
        write_whole(self.record, json.dumps(asdict(begun), indent=2).encode())  # last: now the manifest is whole
        return begun

    def _resume(self) -> Self:
        file_system, path = locate(self.record)
        with file_system.open_input_stream(path) as stream:
            content = stream.read()
        try:
            begun = type(self)(**json.loads(content) | {"output": self.output})
        except (ValueError, TypeError) as error:
            raise CommandError(
                f"{self.record} is damaged or of another version: choose another output folder."
            ) from error
        if different := [name for one, name in FIXED.items() if getattr(begun, one) != getattr(self, one)]:
            raise CommandError(
                f"{self.output} was begun with another {', '.join(different)}: give the same, or choose another folder."
            )
        return begun

    def left(self) -> tuple[list[Chunk], int]:
        """Return the chunks that have no part yet, and the number of errors in the parts of the others.

        What a killed writer left is removed. Raises CommandError if a part cannot be read.
        """
        file_system, path = locate(self.output)
        names = [info.base_name for info in file_system.get_file_info(fs.FileSelector(path)) if info.is_file]
        for name in names:
            if name.startswith(UNFINISHED):
                file_system.delete_file(f"{path}/{name}")
        there = {int(part[1]): f"{path}/{part[0]}" for part in map(PART.fullmatch, names) if part}
        firsts = (first for first in range(0, self.total, self.chunk) if first not in there)
        left = [Chunk(first, min(self.chunk, self.total - first)) for first in firsts]
        return left, _count_errors(file_system, list(there.values()))

    def photos(self, chunk: Chunk) -> list[Photo]:
        group, start = divmod(chunk.first, GROUP)
        rows = retried(lambda: _read_group(self.manifest, group)).slice(start, chunk.count).to_pylist()
        return [
            Photo(**row | {"path": os.fsdecode(row["path"]), "file": row["file"] and os.fsdecode(row["file"])})
            for row in rows
        ]

    def write(self, chunk: Chunk, rows: pa.Table) -> None:
        """Write a chunk's part. Raises OSError."""
        buffer = pa.BufferOutputStream()
        pq.write_table(rows, buffer)
        write_whole(join(self.output, f"part-{chunk.first:012d}.parquet"), buffer.getvalue())


def chunk_size(total: int) -> int:
    """Return a power of two, so that a chunk lies in one group of the manifest."""
    size = SMALLEST_CHUNK
    while size < GROUP and size * CHUNKS < total:
        size *= 2
    return size


def write_manifest(name: str, found: Iterable[Photo]) -> int:
    """Write the manifest as the photos are found, a group at a time. Returns their number."""
    file_system, path = locate(name)
    total, waiting = 0, iter(found)
    with file_system.open_output_stream(path) as stream, pq.ParquetWriter(stream, MANIFEST) as writer:
        while group := list(islice(waiting, GROUP)):
            rows = [
                vars(one) | {"path": os.fsencode(one.path), "file": one.file and os.fsencode(one.file)} for one in group
            ]
            writer.write_table(pa.Table.from_pylist(rows, MANIFEST), row_group_size=GROUP)
            total += len(group)
    return total


@lru_cache(maxsize=1)
def _read_group(name: str, number: int) -> pa.Table:
    """Read a group of the manifest, which is kept, since the next chunk may be a part of it. The file is not kept open.

    A worker lives on for a second after the command: an open file would keep the output's disk from being unmounted.
    """
    file_system, path = locate(name)
    with file_system.open_input_file(path) as file:
        return pq.ParquetFile(file).read_row_group(number)


def _count_errors(file_system: fs.FileSystem, parts: list[str]) -> int:
    """Count the rows with an error: the parts' footers say how many, for most."""
    files = dataset(parts, ERRORS, "parquet", file_system)
    try:
        return int(retried(lambda: files.count_rows(filter=field(*ERRORS.names).is_valid())))
    except (OSError, pa.ArrowInvalid) as error:
        raise CommandError(
            f"A part of the output cannot be read ({reason_of(error)}): repair it, or delete it to have its photos "
            "classified again."
        ) from error
