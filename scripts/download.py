"""Download a file whole and verified, or not at all."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import requests
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from scripts.console import err
from scripts.errors import DownloadError

CHUNK_BYTES = 1 << 16
CONNECT_SECONDS, READ_SECONDS = 10, 30


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(url: str, path: Path, sha256: str) -> None:
    """Fetch `url` into `path`, with a progress bar on a terminal.

    `sha256` is the file's digest or the start of it, in hexadecimal. The bytes go to a temporary folder beside
    `path`, and the file is moved out of it only once the digest fits. Raises DownloadError.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            partial = Path(folder) / path.name
            digest = _fetch(url, partial)
            if not digest.startswith(sha256.lower()):
                raise DownloadError(
                    f"{url} has the SHA-256 {digest}, not the expected {sha256}: the file was changed or damaged on "
                    "its way. Nothing was kept; check the address and the digest."
                )
            partial.replace(path)
    except requests.RequestException as error:
        raise DownloadError(f"{url} could not be downloaded ({_reason(error)}): check the network.") from error
    except OSError as error:
        raise DownloadError(
            f"{url} could not be kept as {path} ({error.strerror}): make room, or make the folder one you may write to."
        ) from error


def _fetch(url: str, path: Path) -> str:
    digest = hashlib.sha256()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with (
        requests.get(url, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS)) as response,
        Progress(*columns, console=err, transient=True) as progress,
        path.open("wb") as file,
    ):
        response.raise_for_status()
        size = response.headers.get("Content-Length")
        task = progress.add_task(url.rsplit("/", 1)[-1], total=int(size) if size else None)
        for chunk in response.iter_content(CHUNK_BYTES):
            file.write(chunk)
            digest.update(chunk)
            progress.advance(task, len(chunk))
    return digest.hexdigest()


def _reason(error: requests.RequestException) -> str:
    """Say in a few words what requests says in many."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return "the server did not answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off before the end"
    if isinstance(error, requests.ConnectionError):
        return "the server could not be reached"
    return str(error)
