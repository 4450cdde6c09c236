"""Files on this machine, in S3, Google Cloud Storage or anything that pyarrow or fsspec knows, by path or URI."""

from __future__ import annotations

import errno
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TypeVar
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import fs

from densenet_serving import photo_files
from densenet_serving.errors import CommandError

LOCAL = fs.LocalFileSystem()
# A file that is being written: readers of Parquet folders pass over names that begin with an underscore.
UNFINISHED = "_unfinished-"

# A store that refuses for ten seconds is waited for; one that refuses longer than half a minute ends the run.
WAITS_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
# Waiting does not help: the file is not there, or this user may not have it, or is no file.
FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
FULL = (errno.ENOSPC, errno.EDQUOT)

Result = TypeVar("Result")


def is_uri(name: str) -> bool:
    return "://" in name


def absolute(name: str) -> str:
    """Name a file so that every host and every later run finds it: a URI as it is, a path from the root."""
    return name if is_uri(name) else str(Path(name).absolute())


def without_query(name: str) -> str:
    return name.partition("?")[0] if is_uri(name) else name


def join(folder: str, name: str) -> str:
    """Name a file in a folder; a URI's query stays at its end."""
    base = without_query(folder)
    return f"{base.rstrip('/')}/{name.lstrip('/')}{folder[len(base) :]}"


def suffix(name: str) -> str:
    return PurePosixPath(without_query(name)).suffix.lower()


def locate(name: str) -> tuple[fs.FileSystem, str]:
    """Return the file system of a path or URI, and the path there. Raises CommandError for an unknown kind of URI."""
    if not is_uri(name):
        return LOCAL, str(Path(name).absolute())
    uri = urlsplit(name)
    return _file_system(uri.scheme, uri.netloc, uri.query), without_query(name).partition("://")[2]


@cache
def _file_system(scheme: str, authority: str, query: str) -> fs.FileSystem:
    """Connect once for each store: a client of S3 takes a tenth of a second to make.

    The query holds pyarrow's options, such as endpoint_override=localhost:9000 for a store that only speaks like S3.
    """
    uri = f"{scheme}://{authority}" + (f"?{query}" if query else "")
    try:
        return fs.FileSystem.from_uri(uri if scheme != "file" else "file:///")[0]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        pass  # one of fsspec's, or of nobody's
    try:
        import fsspec

        return fs.PyFileSystem(fs.FSSpecHandler(fsspec.filesystem(scheme)))
    except (ImportError, ValueError) as error:
        raise CommandError(f"{scheme}:// cannot be read or written here ({error}).") from error


def retried(act: Callable[[], Result], waits: Sequence[float] = WAITS_SECONDS) -> Result:
    """Do something with a store, and again after a while if it refuses. Raises OSError if it goes on refusing."""
    for seconds in waits:
        try:
            return act()
        except OSError as error:
            if isinstance(error, FINAL) or error.errno in FULL:
                raise
            time.sleep(seconds)
    return act()


def open_file(name: str) -> pa.NativeFile:
    """Open a file to read at any place. Raises OSError, and CommandError for a pipe or a device."""
    file_system, path = locate(name)
    if file_system is LOCAL and Path(path).is_dir():
        os.listdir(path)  # noqa: PTH208 - raises what keeps it from being listed
    elif file_system is LOCAL and Path(path).exists() and not Path(path).is_file():
        raise CommandError("it is a pipe or a device")  # opening a pipe waits for its writer
    return file_system.open_input_file(os.fsencode(path))  # text has to be UTF-8, and a name need not be


def walk(name: str) -> Iterator[str]:
    """Yield the files in a folder and its folders, sorted in each; the listing of one folder is in memory at a time."""
    if not is_uri(name):
        yield from photo_files.walk(name)
        return
    file_system, top = locate(name)
    waiting = [top]
    while waiting:
        found = sorted(file_system.get_file_info(fs.FileSelector(waiting.pop())), key=lambda info: info.path)
        for info in found:
            if info.type == fs.FileType.File:
                yield join(name, info.path.strip("/")[len(top.strip("/")) :])  # fsspec's paths may begin with a slash
        waiting += reversed([info.path for info in found if info.type == fs.FileType.Directory])


def write_whole(name: str, content: bytes | pa.Buffer) -> None:
    """Write a file that is there whole or not at all. Raises OSError."""
    file_system, path = locate(name)
    partial = f"{path.rpartition('/')[0]}/{UNFINISHED}{uuid.uuid4().hex}"

    def write() -> None:
        with file_system.open_output_stream(partial) as stream:
            stream.write(content)
        file_system.move(partial, path)

    retried(write)
