"""Download a file and verify its digest; a file that fails is not kept."""

from __future__ import annotations

import hashlib
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import requests
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from densenet_client import proxy_trouble
from densenet_serving.console import err
from densenet_serving.errors import DownloadError
from densenet_serving.files import atomic_write

CHUNK_BYTES = 1 << 16
CONNECT_SECONDS, READ_SECONDS = 10, 30
# DenseNet-121 has 32 MB; a checkpoint with its optimizer's state three times as much.
MOST_BYTES = 500_000_000
MOST_REDIRECTS = 5


def download(url: str, path: Path, sha256: str) -> None:
    """Fetch `url` into `path`, with a progress bar on a terminal.

    `sha256` is the file's digest or the start of it, in hexadecimal. `path` appears only after the digest was checked.
    Raises DownloadError.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as partial:
            digest = _fetch(url, partial)
            if not digest.startswith(sha256.lower()):
                raise DownloadError(
                    f"{url} has the SHA-256 {digest}, not the expected {sha256}: the file was changed or damaged on "
                    "its way. Nothing was kept; check the address and the digest."
                )
    except requests.RequestException as error:
        raise DownloadError(f"{url} could not be downloaded ({_reason(error, url)}): check the network.") from error
    except OSError as error:
        raise DownloadError(
            f"{url} could not be kept as {path} ({error.strerror}): make room, or make the folder one you may write to."
        ) from error


def _fetch(url: str, path: Path) -> str:
    digest, received = hashlib.sha256(), 0
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with (
        _open(url) as response,
        Progress(*columns, console=err, transient=True) as progress,
        path.open("wb") as file,
    ):
        response.raise_for_status()
        size = int(response.headers.get("Content-Length", 0))
        task = progress.add_task(url.rsplit("/", 1)[-1], total=size or None)
        for chunk in response.iter_content(CHUNK_BYTES):
            received += len(chunk)
            if max(size, received) > MOST_BYTES:
                raise DownloadError(
                    f"{url} is larger than {MOST_BYTES // 10**6} MB, which no checkpoint of these networks is: check "
                    "the address. Nothing was kept."
                )
            file.write(chunk)
            digest.update(chunk)
            progress.advance(task, len(chunk))
    return digest.hexdigest()


def _open(url: str) -> requests.Response:
    """Request a file, and follow redirects only from https to https.

    Otherwise a server could redirect this machine to services of its own or of its network.
    """
    asked = url
    for _ in range(MOST_REDIRECTS + 1):
        response = requests.get(asked, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS), allow_redirects=False)
        if not response.is_redirect:
            return response
        response.close()
        target = urljoin(asked, response.headers["Location"])
        if {urlsplit(address).scheme for address in (asked, target)} != {"https"}:
            raise DownloadError(
                f"{url} is redirected to {target}, and only https is followed, to https: give the address of the file "
                "itself."
            )
        asked = target
    raise DownloadError(f"{url} is redirected more than {MOST_REDIRECTS} times: give the address of the file itself.")


def _reason(error: requests.RequestException, url: str) -> str:
    """Summarize an error of requests in a few words."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return "the server did not answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off before the end"
    if trouble := proxy_trouble(error, url):
        return trouble
    if isinstance(error, requests.ConnectionError):
        return "the server could not be reached"
    return str(error)
