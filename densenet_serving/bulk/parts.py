"""The output: one Parquet file for each chunk, under a name that the chunk determines.

Exactly once follows from that. Whoever does a chunk again, after a crash or beside a host that was cut off, writes the
same rows to the same name. A file appears whole or not at all, so the chunks that have none are what is left to do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from densenet_serving.bulk.filesystems import UNFINISHED, join, locate, patiently, write_whole
from densenet_serving.bulk.manifest import Chunk
from densenet_serving.errors import CommandError, reason_of

NAME = re.compile(r"part-(\d{12})\.parquet")
PREDICTION = pa.struct([("class_id", pa.string()), ("class_name", pa.string()), ("probability", pa.float64())])
SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("path", pa.string()),
        ("class_id", pa.string()),
        ("class_name", pa.string()),
        ("probability", pa.float64()),
        ("recognized", pa.bool_()),
        ("predictions", pa.list_(PREDICTION)),
        ("error_code", pa.int32()),
        ("error_message", pa.string()),
        ("model_name", pa.string()),
        ("model_version", pa.string()),
        ("model_digest", pa.string()),
    ]
)
READERS = 16  # footers read at a time: from a store far away each takes 50 ms


@dataclass(frozen=True)
class Done:
    """A chunk that was written: its number of rows, and of rows with an error."""

    first: int
    rows: int
    errors: int


def collect(batches: Iterable[list[dict[str, Any]]]) -> pa.Table:
    """Gather rows as columns, a batch at a time: a chunk's dictionaries take 1 GB with a thousand predictions a row."""
    return pa.Table.from_batches((pa.RecordBatch.from_pylist(rows, SCHEMA) for rows in batches), SCHEMA)


def write(folder: str, chunk: Chunk, table: pa.Table) -> Done:
    """Write a chunk's rows. Raises OSError."""
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer)
    write_whole(join(folder, f"part-{chunk.first:012d}.parquet"), buffer.getvalue())
    return Done(chunk.first, table.num_rows, table.num_rows - table["error_code"].null_count)


def written(folder: str) -> Iterator[Done]:
    """Yield the chunks that are there, read from their footers, and remove what a killed writer left.

    Raises CommandError if one cannot be read.
    """
    file_system, path = locate(folder)
    names = [info.base_name for info in file_system.get_file_info(fs.FileSelector(path)) if info.is_file]
    for name in names:
        if name.endswith(UNFINISHED):
            file_system.delete_file(f"{path}/{name}")
    with ThreadPoolExecutor(READERS) as threads:
        yield from threads.map(lambda name: _read(file_system, path, name), filter(NAME.fullmatch, names))


def _read(file_system: fs.FileSystem, path: str, name: str) -> Done:
    try:
        metadata = patiently(lambda: pq.read_metadata(f"{path}/{name}", filesystem=file_system))
    except (OSError, pa.ArrowInvalid) as error:
        raise CommandError(
            f"{path}/{name} cannot be read ({reason_of(error)}): repair it, or delete it to have its photos "
            "classified again."
        ) from error
    nulls = sum(
        metadata.row_group(i).column(j).statistics.null_count
        for i in range(metadata.num_row_groups)
        for j in range(metadata.num_columns)
        if metadata.row_group(i).column(j).path_in_schema == "error_code"
    )
    return Done(int(name[5:-8]), metadata.num_rows, metadata.num_rows - nulls)
