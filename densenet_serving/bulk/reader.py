"""Read the bytes of photos, or say why they cannot be read."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

import pyarrow as pa

from densenet_serving.bulk.cells import Cells, GroupTooLarge, bytes_in
from densenet_serving.bulk.filesystems import open_file, patiently, suffix
from densenet_serving.bulk.photos import Photo, is_damaged
from densenet_serving.errors import CommandError, reason_of

# More than max_image_bytes in handler/model-config.yaml: the handler refuses what is cut off here.
MOST_BYTES = 33_554_432
# Photos that are being read or wait for the decoder: a store may take 50 ms for what a core classifies in 25.
AHEAD = 16


@dataclass(frozen=True)
class Unreadable:
    """Why there are no bytes. `code` is the HTTP status of the same meaning: 404, 413, or 502 if a store fails."""

    code: int
    message: str


class Reader:
    """Reads photos ahead of whoever decodes them, a bounded number at a time."""

    def __init__(self, column: str | None) -> None:
        self._column = column
        self._threads = ThreadPoolExecutor(AHEAD, thread_name_prefix="reader")
        self._lock = Lock()
        self._place: tuple[str, int] | None = None
        self._rows: pa.Array = pa.array([])

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
        if is_damaged(photo):
            return Unreadable(
                502, "The shard is damaged or cut short: photos of it are missing, so repair or leave it out."
            )
        try:
            return patiently(lambda: self._read(photo))
        except FileNotFoundError:
            return Unreadable(404, "The photo is not there: check the path.")
        except GroupTooLarge as error:
            return Unreadable(413, str(error))
        except MemoryError:
            return Unreadable(413, "The photo unpacks to more memory than a worker may have: write the file again.")
        except (OSError, CommandError, pa.ArrowInvalid) as error:
            return Unreadable(
                502, f"The photo cannot be read ({reason_of(error)}): check its permissions and the store."
            )

    def _read(self, photo: Photo) -> bytes | Unreadable:
        if photo.file is not None and suffix(photo.file) == ".parquet":
            return self._cell(photo.file, photo.offset, photo.size)
        with open_file(photo.file or photo.path) as file:
            size = photo.size if photo.file else file.size()
            content: bytes = file.read_at(min(size, MOST_BYTES), photo.offset)
            return content

    def _cell(self, file: str, group: int, row: int) -> bytes | Unreadable:
        """Read one row of a column. The row group is kept, since the next photo is most likely its next row."""
        with self._lock:
            if self._place != (file, group):
                with open_file(file) as stream:
                    self._rows = Cells("The file", stream, self._column).read(group)
                self._place = (file, group)
            content = bytes_in(self._rows[row])
        if content is None:
            return Unreadable(404, "The row holds no photo: expected the bytes of an encoded one.")
        return content[:MOST_BYTES]
