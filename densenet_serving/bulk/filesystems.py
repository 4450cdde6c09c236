"""Files on this machine, in S3, Google Cloud Storage or anything that pyarrow or fsspec knows, by path or URI."""

from __future__ import annotations

import errno
import os
import time
import uuid
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TypeVar
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import fs

from densenet_serving.errors import CommandError
from densenet_serving.photo_files import is_lost, is_photo
from densenet_serving.photo_files import walk as walk_here

LOCAL = fs.LocalFileSystem()
UNFINISHED = ".unfinished"

# A store that refuses for ten seconds is waited for; one that refuses longer than half a minute ends the run.
WAITS_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
# Waiting does not help: the file is not there, or this user may not have it, or is no file.
FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)

Result = TypeVar("Result")


def is_uri(name: str) -> bool:
    return "://" in name


def absolute(name: str) -> str:
    """Name a file so that every host and every later run finds it: a URI as it is, a path from the root."""
    return name if is_uri(name) else str(Path(name).absolute())


def join(folder: str, name: str) -> str:
    """Name a file in a folder; a URI's query stays at its end."""
    base, mark, query = folder.partition("?") if is_uri(folder) else (folder, "", "")
    return f"{base.rstrip('/')}/{name.lstrip('/')}{mark}{query}"


def suffix(name: str) -> str:
    return PurePosixPath(name.partition("?")[0] if is_uri(name) else name).suffix.lower()


def locate(name: str) -> tuple[fs.FileSystem, str]:
    """Return the file system of a path or URI, and the path there. Raises CommandError for an unknown kind of URI."""
    if not is_uri(name):
        return LOCAL, str(Path(name).absolute())
    uri = urlsplit(name)
    path = name.partition("://")[2].partition("?")[0] if uri.query else name.partition("://")[2]
    return _file_system(uri.scheme, uri.netloc, uri.query), path


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


def patiently(act: Callable[[], Result]) -> Result:
    """Do something with a store, and again after a while if it refuses. Raises OSError if it goes on refusing."""
    for seconds in WAITS_SECONDS:
        try:
            return act()
        except FINAL:
            raise
        except OSError as error:
            if _is_full(error):
                raise
            time.sleep(seconds)
    return act()


def _is_full(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def open_file(name: str) -> pa.NativeFile:
    """Open a file to read at any place. Raises OSError, and CommandError for a pipe or a device."""
    file_system, path = locate(name)
    if file_system is LOCAL and Path(path).is_dir():
        os.listdir(path)  # noqa: PTH208 - raises what keeps it from being listed
    elif file_system is LOCAL and Path(path).exists() and not Path(path).is_file():
        raise CommandError("it is a pipe or a device")  # opening a pipe waits for its writer
    return file_system.open_input_file(raw(path))


def raw(path: str) -> bytes:
    """Return the bytes of a path: pyarrow takes only those for a name that is not UTF-8."""
    return path.encode(errors="surrogateescape")


def holds_photo(name: str) -> bool:
    """Tell whether a file that `walk` found is a photo, or stands for photos that cannot be listed."""
    return is_photo(name.partition("?")[0]) if is_uri(name) else is_photo(name) or is_lost(name)


def walk(name: str) -> Iterator[str]:
    """Yield the files in a folder and its folders, sorted in each; the listing of one folder is in memory at a time."""
    if not is_uri(name):
        yield from walk_here(name)
        return
    file_system, top = locate(name)
    waiting = [top]
    while waiting:
        found = file_system.get_file_info(fs.FileSelector(waiting.pop()))
        for info in sorted(found, key=lambda info: info.path):
            if info.type == fs.FileType.File:
                yield join(name, info.path.strip("/")[len(top.strip("/")) :])  # fsspec's paths may begin with a slash
        folders = (info.path for info in found if info.type == fs.FileType.Directory)
        waiting += sorted(folders, reverse=True)


def write_whole(name: str, content: bytes | pa.Buffer) -> None:
    """Write a file that is there whole or not at all. Raises OSError."""
    file_system, path = locate(name)
    partial = f"{path}.{uuid.uuid4().hex}{UNFINISHED}"

    def write() -> None:
        with file_system.open_output_stream(partial) as stream:
            stream.write(content)
        file_system.move(partial, path)

    try:
        patiently(write)
    except OSError:
        if file_system.get_file_info(partial).type == fs.FileType.File:
            file_system.delete_file(partial)
        raise
