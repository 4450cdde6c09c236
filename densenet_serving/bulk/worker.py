"""What each actor of the cluster does: classify the photos of a chunk as the server would, and write its part.

The archive's own handler runs as TorchServe runs it, with its decoder processes. So a photo is decoded by the same code
under the same limits, and the answers are the server's.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import yaml

from densenet_serving.bulk.job import Chunk, Job
from densenet_serving.bulk.photos import Photo, Reader, Unreadable
from densenet_serving.errors import CommandError
from densenet_serving.files import as_text

# What one inference takes at once: in one thread more do not go faster (benchmarks/ceiling.py), and wait in memory.
BATCH = 8
BUSY = 503
MANIFEST = "MAR-INF/MANIFEST.json"


class Worker:
    """Ray makes one for each core that it has, on any host, and sends it one chunk after another."""

    def __init__(self, job: Job, archive: bytes, schema: pa.Schema, most_bytes: int) -> None:
        """`archive` is the .mar, which Ray brought here; `schema` the output's; of a photo `most_bytes` are read."""
        self._job, self._reader, self._schema = job, Reader(job.column, most_bytes), schema
        self._model = Model(archive, job.digest, BATCH, job.headers, session_folder())

    def ready(self) -> None:
        """Answer as soon as the archive is loaded."""

    def do(self, chunk: Chunk) -> tuple[int, int]:
        """Classify a chunk and write its part; returns the rows, and those with an error. Raises OSError."""
        # As columns, a batch at a time: a chunk's dictionaries take 1 GB with a thousand predictions a row.
        batches = (pa.RecordBatch.from_pylist(rows, self._schema) for rows in self._batches(chunk))
        rows = pa.Table.from_batches(batches, self._schema)
        self._job.write(chunk, rows)
        return rows.num_rows, rows.num_rows - rows["error_code"].null_count

    def _batches(self, chunk: Chunk) -> Iterator[list[dict[str, Any]]]:
        photos = self._job.photos(chunk)
        contents = self._reader.read_all(photos)
        for start in range(0, len(photos), BATCH):
            part = photos[start : start + BATCH]
            answers = self._answers([next(contents) for _ in part])
            yield [self._row(chunk.first + start + i, *one) for i, one in enumerate(zip(part, answers, strict=True))]

    def _answers(self, contents: list[bytes | Unreadable]) -> list[dict[str, Any]]:
        good = [content for content in contents if isinstance(content, bytes)]
        answers = iter(self._model.classify(good) if good else [])
        return [vars(content) if isinstance(content, Unreadable) else next(answers) for content in contents]

    def _row(self, number: int, photo: Photo, answer: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is known of a photo, of which the output takes what it has a column for."""
        return {
            **answer,
            "id": number,
            "path": as_text(photo.path),
            "error_code": answer.get("code"),
            "error_message": answer.get("message"),
            "model_name": self._job.model,
            "model_version": self._job.version,
            "model_digest": self._job.digest,
        }


def session_folder() -> str | None:
    """Return Ray's folder on this host, which goes with its session: Ray ends workers by SIGKILL. None without Ray."""
    from ray._private import worker

    node = worker._global_node
    return node.get_session_dir_path() if node else None


class Model:
    """One archive, loaded for one thread. Its modules come from the archive, so load no other in the same process."""

    def __init__(
        self, archive: bytes, digest: str, batch: int, headers: Mapping[str, str], parent: str | None = None
    ) -> None:
        """Unpack an archive in the folder `parent`, or in the system's own for temporary files.

        Raises CommandError if the bytes are not those of the digest.
        """
        if hashlib.sha256(archive).hexdigest() != digest:
            raise CommandError(f"The archive that arrived on this host is not the one of SHA-256 {digest}.")
        # The archive's decoder processes are started from there.
        self._unpacked = tempfile.TemporaryDirectory(prefix="archive-", dir=parent)
        folder = Path(self._unpacked.name)
        with zipfile.ZipFile(io.BytesIO(archive)) as mar:
            mar.extractall(folder)
        model = json.loads((folder / MANIFEST).read_text())["model"]
        self._context = Context(folder, _config(folder, model.get("configFile")), headers, batch)
        self._handler = _handler(folder, model["handler"])
        self._handler.initialize(self._context)

    def classify(self, photos: Sequence[bytes]) -> list[dict[str, Any]]:
        """Answer each photo with the server's JSON: that of a prediction, or {code, type, message}.

        A photo for which a batch of large ones leaves no time is tried again alone.
        """
        answers = self._answer(photos)
        return [
            self._answer([photo])[0] if answer.get("code") == BUSY and len(photos) > 1 else answer
            for photo, answer in zip(photos, answers, strict=True)
        ]

    def _answer(self, photos: Sequence[bytes]) -> list[dict[str, Any]]:
        return [json.loads(body) for body in self._handler.handle([{"body": photo} for photo in photos], self._context)]


class Context:
    """What the handler sees of TorchServe (handler/context.py). The status of a row is not kept: its body says it."""

    def __init__(self, folder: Path, config: dict[str, Any], headers: Mapping[str, str], batch: int) -> None:
        self.system_properties = {"model_dir": str(folder), "gpu_id": None, "batch_size": batch}
        self.model_yaml_config = config
        self.metrics = SimpleNamespace(cache={})
        self._headers = dict(headers)

    def get_request_id(self, idx: int) -> str | None:
        return str(idx)

    def get_all_request_header(self, idx: int) -> dict[str, Any]:  # noqa: ARG002 - all rows have the same
        return self._headers

    def set_response_content_type(self, idx: int, value: str) -> None: ...

    def set_response_header(self, idx: int, key: str, value: str) -> None: ...

    def set_response_status(self, code: int, phrase: str, idx: int) -> None: ...


def _config(folder: Path, name: str | None) -> dict[str, Any]:
    """Read model-config.yaml, but with one thread: a worker a core decodes and infers in turn, and that is fastest."""
    config: dict[str, Any] = yaml.safe_load((folder / name).read_text()) if name else {}
    config["handler"] = {**(config.get("handler") or {}), "threads": 1}
    return config


def _handler(folder: Path, entry: str) -> Any:
    """Import the archive's entry as TorchServe does, and return an instance of the one class defined there."""
    sys.path.insert(0, str(folder))
    try:
        module = importlib.import_module(Path(entry).stem)
    finally:
        sys.path.remove(str(folder))
    [handler] = [one for one in vars(module).values() if isinstance(one, type) and one.__module__ == module.__name__]
    return handler()
