"""The list of a job's photos, written once: a photo keeps its number whatever becomes of the source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from densenet_serving.bulk.filesystems import locate, patiently, raw
from densenet_serving.bulk.photos import Photo

# Rows of a group in the manifest, and the most of a chunk: 2,048 photos are a minute of one core's work, and ten
# million of them 5,000 files of output.
GROUP = 2048
SMALLEST_CHUNK = 16
CHUNKS = 256  # at least, of photos enough for them: no core idles for long at the end, and little is done again

SCHEMA = pa.schema(
    [
        ("path", pa.binary()),  # a file's name need not be UTF-8
        ("file", pa.binary()),
        ("offset", pa.int64()),
        ("size", pa.int64()),
    ]
)


@dataclass(frozen=True)
class Chunk:
    """The photos of numbers `first` to `first + count - 1`, which one worker classifies and writes as one file."""

    first: int
    count: int


def write(name: str, photos: Iterable[Photo]) -> int:
    """Write the manifest as the photos are found, a group at a time. Returns their number."""
    file_system, path = locate(name)
    total, waiting = 0, iter(photos)
    with file_system.open_output_stream(path) as stream, pq.ParquetWriter(stream, SCHEMA) as writer:
        while group := list(islice(waiting, GROUP)):
            columns = [[_raw(getattr(photo, field)) for photo in group] for field in SCHEMA.names]
            writer.write_table(pa.table(columns, schema=SCHEMA), row_group_size=GROUP)
            total += len(group)
    return total


def _raw(value: str | int | None) -> bytes | int | None:
    return raw(value) if isinstance(value, str) else value


def _text(value: Any) -> Any:
    return value.decode(errors="surrogateescape") if isinstance(value, bytes) else value


def chunk_size(total: int) -> int:
    """Return a power of two, so that a chunk lies in one group of the manifest."""
    size = SMALLEST_CHUNK
    while size < GROUP and size * CHUNKS < total:
        size *= 2
    return size


def chunks(total: int, size: int) -> Iterator[Chunk]:
    return (Chunk(first, min(size, total - first)) for first in range(0, total, size))


class Manifest:
    """Reads the photos of a chunk. It keeps the last group, of which the next chunk may be a part, but no open file.

    A worker lives on for a second after the command: an open file would keep the output's disk from being unmounted.
    """

    def __init__(self, name: str) -> None:
        self._file_system, self._path = locate(name)
        self._number, self._group = -1, SCHEMA.empty_table()

    def photos(self, chunk: Chunk) -> list[Photo]:
        number, start = divmod(chunk.first, GROUP)
        if number != self._number:
            self._number, self._group = number, patiently(lambda: self._read(number))
        return [
            Photo(**{name: _text(value) for name, value in row.items()})
            for row in self._group.slice(start, chunk.count).to_pylist()
        ]

    def _read(self, number: int) -> pa.Table:
        with self._file_system.open_input_file(self._path) as file:
            return pq.ParquetFile(file).read_row_group(number)
