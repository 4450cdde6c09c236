"""Find the images that a person names on the command line, and read their bytes."""

from __future__ import annotations

import glob
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import requests

from densenet_client import proxy_trouble
from scripts.errors import CommandError
from scripts.photo_files import SUFFIXES, LeftOut

STDIN = "-"
TIMEOUT_SECONDS = 30
# TorchServe takes no larger request (max_request_size in config.properties), so a larger image is not worth fetching.
MAX_BYTES = 33_554_432


def expand(names: Iterable[str], left_out: LeftOut) -> Iterator[str]:
    """Replace folders (recursively) and glob patterns with the image files in them; keep every other name.

    Their other files are added to `left_out`.

    A file that is named itself is kept whatever its suffix is. A folder without images is kept too: reading it then
    fails with an error in its own row.
    """
    for name in names:
        path = Path(name)
        if name == STDIN or is_url(name) or path.is_file():
            yield name
            continue
        candidates = path.rglob("*") if path.is_dir() else map(Path, glob.iglob(name, recursive=True))  # noqa: PTH207
        found = []
        for file in sorted(str(file) for file in candidates if file.is_file()):
            if Path(file).suffix.lower() in SUFFIXES:
                found.append(file)
            else:
                left_out.add(file)
        yield from found or [name]


def is_url(name: str) -> bool:
    return name.startswith(("http://", "https://"))


def read(name: str) -> bytes:
    """Read one image's bytes from a file, a URL or, for "-", standard input. Raises CommandError."""
    if name == STDIN:
        return sys.stdin.buffer.read()
    if is_url(name):
        return _fetch(name)
    if Path(name).is_dir():
        raise CommandError(f"The folder {name} holds no image: expected files ending in {', '.join(sorted(SUFFIXES))}.")
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise CommandError(f"{name} cannot be read ({error.strerror}): check the path.") from error


def _fetch(url: str) -> bytes:
    try:
        with requests.get(url, timeout=TIMEOUT_SECONDS, stream=True) as response:
            response.raise_for_status()
            content = b""
            for chunk in response.iter_content(1 << 16):
                content += chunk
                if len(content) > MAX_BYTES:
                    raise CommandError(f"{url} is larger than {MAX_BYTES:,} bytes, which no server here accepts.")
            return content
    except requests.RequestException as error:
        reason = proxy_trouble(error) or type(error).__name__
        raise CommandError(f"{url} could not be fetched ({reason}): check the address.") from error
