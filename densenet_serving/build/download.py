"""Download a file and verify its digest; a file that fails is not kept."""

from __future__ import annotations

import hashlib
from pathlib import Path
from urllib.parse import urljoin

import requests
from rich.progress import DownloadColumn, Progress

from densenet_client import proxy_trouble
from densenet_serving.console import err
from densenet_serving.errors import DownloadError
from densenet_serving.files import atomic_write

CHUNK_BYTES = 1 << 16
TIMEOUTS = (10.0, 30.0)  # seconds to connect, and to wait for more
# DenseNet-121 has 32 MB; a checkpoint with its optimizer's state three times as much.
MOST_BYTES = 500_000_000
MOST_REDIRECTS = 5


def download(
    url: str, path: Path, sha256: str, *, most_bytes: int = MOST_BYTES, timeouts: tuple[float, float] = TIMEOUTS
) -> None:
    """Fetch `url` into `path`, with a progress bar on a terminal.

    `sha256` is the file's digest or the start of it, in hexadecimal. `path` appears only after the digest was checked.
    Raises DownloadError.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as partial:
            digest = _fetch(url, partial, most_bytes, timeouts)
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


class HttpsOnly(requests.Session):
    """Follows redirects only from https to https.

    Otherwise a server could redirect this machine to services of its own or of its network.
    """

    def __init__(self) -> None:
        super().__init__()
        self.max_redirects = MOST_REDIRECTS

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target:
            resp.close()
        if target and not (resp.url.startswith("https:") and urljoin(resp.url, target).startswith("https:")):
            raise DownloadError(
                f"{resp.url} is redirected to {urljoin(resp.url, target)}, and only https is followed, to https: give "
                "the address of the file itself."
            )
        return target


def _fetch(url: str, path: Path, most_bytes: int, timeouts: tuple[float, float]) -> str:
    """Write the file and return its digest."""
    digest, received = hashlib.sha256(), 0
    with (
        HttpsOnly() as session,
        session.get(url, stream=True, timeout=timeouts) as response,
        Progress(*Progress.get_default_columns(), DownloadColumn(), console=err, transient=True) as progress,
        path.open("wb") as file,
    ):
        response.raise_for_status()
        size = int(response.headers.get("Content-Length", 0))
        task = progress.add_task(url.rsplit("/", 1)[-1], total=size or None)
        for chunk in response.iter_content(CHUNK_BYTES):
            received += len(chunk)
            if max(size, received) > most_bytes:
                raise DownloadError(
                    f"{url} is larger than {most_bytes // 10**6} MB, which no checkpoint of these networks is: check "
                    "the address. Nothing was kept."
                )
            file.write(chunk)
            digest.update(chunk)
            progress.advance(task, len(chunk))
    return digest.hexdigest()


def _reason(error: requests.RequestException, url: str) -> str:
    """Summarize an error of requests in a few words."""
    match error:
        case requests.HTTPError(response=requests.Response(status_code=status)):
            return f"the server answered {status}"
        case requests.Timeout():
            return "the server did not answer in time"
        case requests.exceptions.ChunkedEncodingError():
            return "the connection broke off before the end"
    if trouble := proxy_trouble(error, url):
        return trouble
    return "the server could not be reached" if isinstance(error, requests.ConnectionError) else str(error)
