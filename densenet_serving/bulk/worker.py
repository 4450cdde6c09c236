"""What each actor of the cluster does: read the photos of a chunk, classify them, write its part of the output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from densenet_serving.bulk import parts
from densenet_serving.bulk.job import Job
from densenet_serving.bulk.manifest import Chunk, Manifest
from densenet_serving.bulk.model import Model
from densenet_serving.bulk.parts import Done
from densenet_serving.bulk.photos import Photo
from densenet_serving.bulk.reader import Reader, Unreadable
from densenet_serving.files import as_text

# What one inference takes at once: in one thread more do not go faster (benchmarks/ceiling.py), and wait in memory.
BATCH = 8


class Worker:
    """Ray makes one for each core that it has, on any host, and sends it one chunk after another."""

    def __init__(self, job: Job, archive: Any) -> None:
        """`archive` refers to the bytes of the .mar in Ray's object store, which brings them to this host."""
        import ray

        self._job = job
        self._manifest, self._reader = Manifest(job.manifest), Reader(job.column)
        self._model = Model(ray.get(archive), job.digest, BATCH, job.headers)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Do one chunk, given and reported as Ray Data's rows are: columns of one value.

        `failure` says why the output cannot be written. Raised, it would come wrapped in all of Ray's advice.
        """
        chunk = Chunk(int(batch["first"][0]), int(batch["count"][0]))
        rows = parts.collect(self._batches(chunk))
        try:
            done, failure = parts.write(self._job.output, chunk, rows), ""
        except OSError as error:
            done, failure = Done(chunk.first, 0, 0), str(error)
        return {"first": [done.first], "rows": [done.rows], "errors": [done.errors], "failure": [failure]}

    def _batches(self, chunk: Chunk) -> Iterator[list[dict[str, Any]]]:
        photos = self._manifest.photos(chunk)
        contents = self._reader.read_all(photos)
        for start in range(0, len(photos), BATCH):
            part = photos[start : start + BATCH]
            answers = self._answers([next(contents) for _ in part])
            numbers = range(chunk.first + start, chunk.first + start + len(part))
            yield [self._row(*row) for row in zip(numbers, part, answers, strict=True)]

    def _answers(self, contents: list[bytes | Unreadable]) -> list[dict[str, Any]]:
        good = [content for content in contents if isinstance(content, bytes)]
        answers = iter(self._model.classify(good) if good else [])
        return [
            {"code": content.code, "message": content.message} if isinstance(content, Unreadable) else next(answers)
            for content in contents
        ]

    def _row(self, number: int, photo: Photo, answer: dict[str, Any]) -> dict[str, Any]:
        names = ("class_id", "class_name", "probability", "recognized", "predictions")
        return {
            "id": number,
            "path": as_text(photo.path),
            **{name: answer.get(name) for name in names},
            "error_code": answer.get("code"),
            "error_message": answer.get("message"),
            "model_name": self._job.model,
            "model_version": self._job.version,
            "model_digest": self._job.digest,
        }
