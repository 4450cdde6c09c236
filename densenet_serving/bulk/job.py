"""A job: which photos go through which model into which folder. It is written there, and only the same job goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Self

from pyarrow import fs

from densenet_serving.build.archives import Archive
from densenet_serving.bulk import manifest, photos
from densenet_serving.bulk.filesystems import absolute, join, locate, write_whole
from densenet_serving.errors import CommandError, reason_of
from densenet_serving.files import sha256_of
from densenet_serving.photo_files import LeftOut, expected

# Readers of Parquet folders pass over names that begin with an underscore.
FOLDER = "_job"
FIXED = {
    "source": "source",
    "column": "--column",
    "model": "model",
    "version": "version of the model",
    "digest": "archive",
    "top_k": "--top-k",
    "min_probability": "--min-probability",
}


@dataclass(frozen=True)
class Job:
    """`digest` is the archive's SHA-256; `total` photos are done in chunks of `chunk`, 0 until they were counted."""

    source: str
    output: str
    column: str | None
    model: str
    version: str
    digest: str
    top_k: int | None
    min_probability: float | None
    total: int = 0
    chunk: int = 0

    @classmethod
    def of(
        cls,
        source: str,
        output: str,
        archive: Archive,
        column: str | None = None,
        top_k: int | None = None,
        min_probability: float | None = None,
    ) -> Self:
        digest = sha256_of(archive.path)
        where = absolute(output)
        return cls(absolute(source), where, column, archive.name, archive.version, digest, top_k, min_probability)

    @property
    def manifest(self) -> str:
        return join(self.output, f"{FOLDER}/photos.parquet")

    @property
    def record(self) -> str:
        return join(self.output, f"{FOLDER}/job.json")

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
            return self._begin_or_resume(progress)
        except (OSError, UnicodeEncodeError) as error:
            raise CommandError(
                f"{self.output} cannot be used ({reason_of(error)}): choose another output folder."
            ) from error

    def _begin_or_resume(self, progress: Callable[[str], None]) -> Self:
        file_system, path = locate(self.output)
        if file_system.get_file_info(locate(self.record)[1]).type == fs.FileType.File:
            return self._resumed()
        if file_system.get_file_info(path).type != fs.FileType.NotFound and self._holds_files():
            raise CommandError(f"{self.output} holds something else: choose a folder that is new or empty.")
        file_system.create_dir(f"{path}/{FOLDER}", recursive=True)
        progress("Listing the photos")
        left_out = LeftOut()
        total = manifest.write(self.manifest, photos.find(self.source, self.column, left_out))
        if not total:
            wanted = ".parquet files with rows" if self.column else f"files ending in {expected()}"
            raise CommandError(f"{self.source} holds no photo: expected {wanted}.")
        if left_out.count:
            progress(f"{left_out} Name such photos in a .txt file to classify them too.")
        begun = type(self)(**asdict(self) | {"total": total, "chunk": manifest.chunk_size(total)})
        write_whole(self.record, json.dumps(asdict(begun), indent=2).encode())  # last: now the manifest is whole
        return begun

    def _resumed(self) -> Self:
        file_system, path = locate(self.record)
        with file_system.open_input_stream(path) as stream:
            content = stream.read()
        try:
            begun = type(self)(**json.loads(content) | {"output": self.output})
        except (ValueError, TypeError) as error:
            raise CommandError(
                f"{self.record} is damaged or of another version: choose another output folder."
            ) from error
        different = [name for field, name in FIXED.items() if getattr(begun, field) != getattr(self, field)]
        if different:
            raise CommandError(
                f"{self.output} was begun with another {', '.join(different)}: give the same, or choose another folder."
            )
        return begun

    def _holds_files(self) -> bool:
        file_system, path = locate(self.output)
        found = file_system.get_file_info(fs.FileSelector(path))
        return any(info.base_name != FOLDER for info in found)
