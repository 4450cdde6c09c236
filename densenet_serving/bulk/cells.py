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


class Cells:
    """The column of photos in an open file: a cell is a path, the bytes of a photo, or a struct that has them.

    `rows` are the numbers of rows in the file's groups.
    """

    def __init__(self, file: str, stream: pa.NativeFile, column: str | None) -> None:
        """Raise CommandError if the file has no such column, and ArrowInvalid if it is damaged."""
        footer = pq.read_metadata(stream)
        schema = footer.schema.to_arrow_schema()
        name = column or next((name for name in COLUMNS if name in schema.names), "of photos")
        if name not in schema.names:
            raise CommandError(f"{file} has no column {name}, but {', '.join(schema.names)}: use --column.")
        if footer.num_rows > (size := stream.size()):
            raise pa.ArrowInvalid(f"it announces {footer.num_rows:,} rows in {size:,} bytes")
        kind = schema.field(name).type
        self.are_paths = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        self.rows: list[int] = [footer.row_group(group).num_rows for group in range(footer.num_row_groups)]
        # Hugging Face's structs have the photo's path beside its bytes.
        self._leaf = f"{name}.bytes" if pa.types.is_struct(kind) else name
        self._parquet = pq.ParquetFile(stream, metadata=footer, read_dictionary=[self._leaf])

    def read(self, group: int, most_bytes: int = MOST_GROUP_BYTES) -> pa.ChunkedArray:
        """Read the cells of one row group. Raises MemoryError before one past the budget is read, and ArrowInvalid."""
        metadata = self._parquet.metadata.row_group(group)
        columns = map(metadata.column, range(metadata.num_columns))
        size = sum(column.total_uncompressed_size for column in columns if column.path_in_schema == self._leaf)
        if size > most_bytes:
            raise MemoryError(f"its row group unpacks to {size:,} bytes and the limit is {most_bytes:,}")
        return self._parquet.read_row_group(group, columns=[self._leaf]).column(0)


def bytes_in(cell: Any) -> bytes | None:
    """Return the bytes of a photo, or None if the cell holds none."""
    value = cell.as_py()
    if isinstance(value, dict):
        value = value.get("bytes")
    return value if isinstance(value, bytes) else None
