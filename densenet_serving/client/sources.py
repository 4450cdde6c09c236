"""Find the images that a person names on the command line, and read their bytes."""

from __future__ import annotations

import glob
import os
import ssl
import stat
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx

from densenet_client import BAD_PROXY, proxy_trouble
from densenet_serving.errors import CommandError
from densenet_serving.photo_files import LeftOut, expected, is_photo, photos_in
from handler.settings import MAX_REQUEST_BYTES

STDIN = "-"
TIMEOUT_SECONDS = 30
MAX_BYTES = MAX_REQUEST_BYTES  # TorchServe takes no larger request, so a larger image is not worth fetching


def expand(names: Iterable[str], left_out: LeftOut) -> Iterator[str]:
    """Replace folders (recursively) and glob patterns with the image files in them; keep every other name.

    Their other files are added to `left_out`.

    A file that is named itself is kept whatever its suffix is. A folder without images is kept too: reading it then
    fails with an error in its own row.
    """
    for name in names:
        if name == STDIN or is_url(name) or os.path.isfile(name):  # noqa: PTH113 - which no error leaves
            yield name
            continue
        is_folder = os.path.isdir(name)  # noqa: PTH112
        yield from list(photos_in(name, left_out) if is_folder else _matching(name, left_out)) or [name]


def _matching(pattern: str, left_out: LeftOut) -> Iterator[str]:
    """Yield the photos that a pattern names, each once: `**` follows a link in circles."""
    seen = set()
    for name in sorted(glob.iglob(pattern, recursive=True)):  # noqa: PTH207
        if os.path.exists(name) and not os.path.isfile(name):  # noqa: PTH110, PTH113
            continue
        folder, _, file = name.rpartition(os.sep)
        if (place := (os.path.realpath(folder), file)) in seen:
            continue
        seen.add(place)
        if is_photo(name):
            yield name
        else:
            left_out.add(name)


def is_url(name: str) -> bool:
    return name.startswith(("http://", "https://"))


def read(name: str) -> bytes:
    """Read one image's bytes from a file, a URL or, for "-", standard input. Raises CommandError."""
    if is_url(name):
        return _fetch(name)
    content = sys.stdin.buffer.read(MAX_BYTES + 1) if name == STDIN else _read_file(name)
    _check_size(name, len(content))
    return content


def _read_file(name: str) -> bytes:
    try:
        if os.path.isdir(name):  # noqa: PTH112
            os.listdir(name)  # noqa: PTH208 - raises what keeps it from being listed
            raise CommandError(f"The folder {name} holds no image: expected files ending in {expected()}.")
        if not stat.S_ISREG((found := os.stat(name)).st_mode):  # noqa: PTH116
            raise CommandError(f"{name} is a pipe or a device: give a file, or - and pipe the image in.")
        _check_size(name, found.st_size)
        with Path(name).open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CommandError(f"{name} cannot be read ({error.strerror}): check the path.") from error


@cache
def _authorities() -> ssl.SSLContext:
    return httpx.create_ssl_context()  # which takes 25 ms


def _fetch(url: str) -> bytes:
    content = bytearray()
    options: dict[str, Any] = {"timeout": TIMEOUT_SECONDS, "follow_redirects": True, "verify": _authorities()}
    try:
        with httpx.stream("GET", url, headers={"Accept-Encoding": "identity"}, **options) as response:
            response.raise_for_status()
            for piece in response.iter_raw():
                content += piece
                _check_size(url, len(content))
    except (httpx.HTTPError, *BAD_PROXY) as error:
        reason = proxy_trouble(error, url) or type(error).__name__
        raise CommandError(f"{url} could not be fetched ({reason}): check the address.") from error
    return bytes(content)


def _check_size(name: str, size: int) -> None:
    if size > MAX_BYTES:
        raise CommandError(f"{name} is larger than {MAX_BYTES:,} bytes, the most that a server takes: save it smaller.")
