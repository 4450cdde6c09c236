"""A Parquet file's column of photos, or of their paths, a row group at a time and within a budget.

A small file can announce any number of rows, and unpack to any number of bytes: a page is compressed, and a dictionary
says once what a million rows repeat. So the rows are compared with the file's size, a group's bytes with a budget, and
a dictionary stays one in memory.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from densenet_serving.errors import CommandError

# The names that data sets give the column of photos or of their paths, the first found counts.
COLUMNS = ("image", "jpg", "bytes", "path", "file", "uri", "url")
# Of a group, uncompressed, which each worker holds. Hugging Face's data sets have 100 photos in one.
MOST_GROUP_BYTES = 1_000_000_000


class GroupTooLarge(Exception):
    """A row group unpacks to more than a worker may hold. The text says so, and what to do."""


class Cells:
    """The column of photos in an open file. A cell is a path, the bytes of a photo, or a struct that has them."""

    def __init__(self, file: str, stream: pa.NativeFile, column: str | None) -> None:
        """Raise CommandError if the file has no such column, and ArrowInvalid if it is damaged."""
        footer = pq.ParquetFile(stream)
        kind = footer.schema_arrow.field(name := _column(file, footer.schema_arrow, column)).type
        self.are_paths = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        # Hugging Face's structs have the photo's path beside its bytes.
        self._leaf = f"{name}.bytes" if pa.types.is_struct(kind) else name
        self._parquet = pq.ParquetFile(stream, metadata=footer.metadata, read_dictionary=[self._leaf])
        self.groups: int = self._parquet.num_row_groups
        rows, size = footer.metadata.num_rows, stream.size()
        if rows > size:
            raise pa.ArrowInvalid(f"it announces {rows:,} rows in {size:,} bytes")

    def rows(self, group: int) -> int:
        return int(self._parquet.metadata.row_group(group).num_rows)

    def read(self, group: int) -> pa.ChunkedArray:
        """Read the cells of one row group. Raises GroupTooLarge before it is read, and ArrowInvalid."""
        group_metadata = self._parquet.metadata.row_group(group)
        columns = (group_metadata.column(i) for i in range(group_metadata.num_columns))
        size = sum(one.total_uncompressed_size for one in columns if one.path_in_schema == self._leaf)
        if size > MOST_GROUP_BYTES:
            raise GroupTooLarge(
                f"The row group unpacks to {size:,} bytes and the limit is {MOST_GROUP_BYTES:,}: write the file again "
                "with fewer rows in a group."
            )
        return self._parquet.read_row_group(group, columns=[self._leaf]).column(0)


def bytes_in(cell: Any) -> bytes | None:
    """Return the bytes of a photo, or None if the cell holds none."""
    value = cell.as_py()
    if isinstance(value, dict):
        value = value.get("bytes")
    return value if isinstance(value, bytes) else None


def _column(file: str, schema: pa.Schema, column: str | None) -> str:
    """Choose the column of photos: a string is a path, binary and a struct with binary `bytes` are a photo."""
    found = column if column is not None else next((name for name in COLUMNS if name in schema.names), None)
    if found is None or found not in schema.names:
        raise CommandError(
            f"{file} has no column {column or 'of photos'}, but {', '.join(schema.names)}: use --column."
        )
    return found
