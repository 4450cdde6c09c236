"""Find the images that a person names on the command line, and read their bytes."""

from __future__ import annotations

import glob
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import requests

from densenet_client import proxy_trouble
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
    if name == STDIN:
        return _checked(name, sys.stdin.buffer.read(MAX_BYTES + 1))
    if is_url(name):
        return _fetch(name)
    try:
        if os.path.isdir(name):  # noqa: PTH112
            os.listdir(name)  # noqa: PTH208 - raises what keeps it from being listed
            raise CommandError(f"The folder {name} holds no image: expected files ending in {expected()}.")
        if not stat.S_ISREG((found := os.stat(name)).st_mode):  # noqa: PTH116
            raise CommandError(f"{name} is a pipe or a device: give a file, or - and pipe the image in.")
        if found.st_size > MAX_BYTES:
            raise CommandError(_too_large(name))
        with Path(name).open("rb") as file:
            return _checked(name, file.read(MAX_BYTES + 1))
    except OSError as error:
        raise CommandError(f"{name} cannot be read ({error.strerror}): check the path.") from error


def _fetch(url: str) -> bytes:
    try:
        with requests.get(url, timeout=TIMEOUT_SECONDS, stream=True) as response:
            response.raise_for_status()
            content = b""
            for chunk in response.iter_content(1 << 16):
                content += chunk
                _checked(url, content)
            return content
    except requests.RequestException as error:
        reason = proxy_trouble(error) or type(error).__name__
        raise CommandError(f"{url} could not be fetched ({reason}): check the address.") from error


def _checked(name: str, content: bytes) -> bytes:
    if len(content) > MAX_BYTES:
        raise CommandError(_too_large(name))
    return content


def _too_large(name: str) -> str:
    return f"{name} is larger than {MAX_BYTES:,} bytes, the most that a server takes: save it smaller."
