"""Ask a server what a photo shows: the gateway, or TorchServe itself.

    from densenet_client import Client

    client = Client("http://127.0.0.1:8000")
    answer = client.classify("cat.jpg", top_k=5)
    print(answer.class_name, answer.probability)

This file imports `requests` and nothing of this project, so that you may copy it to a machine that has no more.

    ClientError          what happened and what to do, in one sentence
    ├── Unreachable      no server answers there, or not in time
    └── Refused          the server answered with an error
"""

from __future__ import annotations

import base64
import ipaddress
import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.exceptions import InvalidProxyURL, InvalidSchema, ProxyError
from urllib3.exceptions import MaxRetryError
from urllib3.util import Retry

Photo = str | Path | bytes
Question = Literal["predictions", "explanations"]

TIMEOUT_SECONDS = 60.0
# TorchServe answers with at most 6.5 MB. Without a limit, 3 MB of gzip would become gigabytes here.
MOST_ANSWER_BYTES = 16_000_000
PIECE_BYTES = 1 << 14  # which gzip makes at most a thousand times as large
# TorchServe answers 503 if its queue is full, 500 and 507 if a worker died; the gateway 429 past a key's rate. A worker
# is back within 15 s, and the pauses are 0, 2, 4, 8 and 16 s, or what the server's Retry-After says. Asking again is
# safe, since a prediction changes nothing, but not after a timeout: the first request may still be at work. Where
# nothing listens, the address is wrong more often than the server is late.
PASSING = (429, 500, 503, 507)
RETRIES = Retry(
    5, connect=0, read=False, allowed_methods=None, status_forcelist=PASSING, backoff_factor=1, raise_on_status=False
)
NO_OVERLAY = (
    "The answer has no overlay: archives of other projects, and early ones of this, explain nothing; build it again "
    "with densenet archive."
)
GATEWAY_PATHS: dict[Question, str] = {"predictions": "/predict", "explanations": "/explain"}


class ClientError(Exception):
    """What happened and what to do, in one sentence for a person."""


class Unreachable(ClientError):
    pass


class Refused(ClientError):
    """`code` is the HTTP status and `type` TorchServe's name of the error; docs/api.md lists them."""

    def __init__(self, code: int, type: str, message: str) -> None:  # noqa: A002 - the name that the server gives it
        super().__init__(message)
        self.code, self.type, self.message = code, type, message


@dataclass(frozen=True)
class Prediction:
    """One class, and how probable it is: from 0 to 1."""

    class_id: str
    class_name: str
    probability: float


@dataclass(frozen=True)
class Answer:
    """The best class. If the photo is not recognized, `class_id` and `class_name` are None.

    `predictions` lists the best classes, the best first, if `top_k` was more than 1. With a multi-label model they are
    all classes that are on the photo, whatever `top_k` is.
    """

    class_id: str | None
    class_name: str | None
    probability: float
    recognized: bool
    predictions: tuple[Prediction, ...] = ()


@dataclass(frozen=True)
class Explanation:
    """The class that was explained. `overlay` is a PNG: what the model saw of the photo, under a heatmap."""

    class_id: str
    class_name: str
    probability: float
    overlay: bytes


class Client:
    """A client of one server. Safe to share between threads: each has a session of its own.

    Without a `token` the server is a gateway, which needs an API `key` if it has any; it chooses the model itself.
    With an inference `token` it is TorchServe, which serves `model`. Keep keys and tokens out of programs: read them
    from the environment.

    For a certificate that no public authority signed, set REQUESTS_CA_BUNDLE to the file of its own authority. A proxy
    that the environment names is used for every server but one of this machine; ~/.netrc is never read.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        token: str | None = None,
        model: str = "densenet121",
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise ClientError(f"{url} is not the address of a server: give one such as https://photos.example.org.")
        if key and token:
            raise ClientError(
                "A key is for the gateway and a token for TorchServe: give the one that the server takes."
            )
        self._url, self._secret, self._timeout = url.rstrip("/"), token or key, timeout
        self._model = model if token else None
        self._sessions = threading.local()

    def classify(self, photo: Photo, *, top_k: int = 1, min_probability: float | None = None) -> Answer:
        """Name what is on a photo, a path or the bytes of a file. Raises ClientError, and OSError for a wrong path."""
        content = self.ask("predictions", photo, {"top_k": top_k, "min_probability": min_probability})
        listed = content.get("predictions", ()) if isinstance(content, dict) else ()
        return _record(Answer, content, predictions=tuple(_record(Prediction, prediction) for prediction in listed))

    def explain(self, photo: Photo, *, class_id: str | None = None, overlay: float | None = None) -> Explanation:
        """Show where the model saw a class, the best one by default. `overlay` is the heatmap's opacity, 0 to 1.

        Raises ClientError, and OSError for a wrong path.
        """
        content = self.ask("explanations", photo, {"class_id": class_id, "overlay": overlay})
        if not isinstance(content, dict) or "overlay" not in content:
            raise ClientError(NO_OVERLAY)
        return _record(Explanation, content, overlay=base64.b64decode(content["overlay"]))

    def ask(self, question: Question, photo: Photo, parameters: Mapping[str, Any]) -> Any:
        """Return the server's JSON as it is, which for another project's archive may be anything.

        Parameters that are None are left to the server. Raises as `classify`.
        """
        image = photo if isinstance(photo, bytes) else Path(photo).read_bytes()
        given = {name: str(value) for name, value in parameters.items() if value is not None}
        if self._model is not None:
            headers = {name.replace("_", "-"): value for name, value in given.items()}
            return self._post(
                f"/{question}/{self._model}", data=image, headers={"Content-Type": "application/octet-stream"} | headers
            )
        if question == "predictions":
            given = {"top_k": "1"} | given  # without a parameter the gateway leaves out the probability
        return self._post(GATEWAY_PATHS[question], files={"file": image}, params=given)

    def _post(self, path: str, *, headers: Mapping[str, str] | None = None, **options: Any) -> Any:
        secret = {"Authorization": f"Bearer {self._secret}"} if self._secret else {}
        options |= {
            "headers": {**(headers or {}), **secret},
            "timeout": self._timeout,
            "allow_redirects": False,
            "stream": True,
        }
        try:
            return _content_of(self._session.post(self._url + path, **options), self._url)
        except requests.Timeout as error:
            raise Unreachable(f"{self._url} did not answer within {self._timeout:.0f} s: try again later.") from error
        except requests.exceptions.SSLError as error:
            raise Unreachable(_tls_failure(self._url, error)) from error
        except requests.RequestException as error:
            if trouble := proxy_trouble(error):
                raise Unreachable(
                    f"{self._url} could not be asked ({trouble}): correct that variable, or add the server's host to "
                    "NO_PROXY."
                ) from error
            if isinstance(error, requests.ConnectionError):
                raise Unreachable(f"No server answers at {self._url}: check the address, and that it runs.") from error
            raise Unreachable(
                f"The request to {self._url} failed ({error}): check the address, and try again."
            ) from error

    @property
    def _session(self) -> requests.Session:
        if not hasattr(self._sessions, "session"):
            self._sessions.session = _open_session(self._url)
        kept: requests.Session = self._sessions.session
        return kept


def _open_session(url: str) -> requests.Session:
    session = requests.Session()
    session.auth = lambda request: request  # or requests would put an entry of ~/.netrc in the place of our secret
    if _is_loopback(urlsplit(url).hostname or ""):
        session.trust_env = False  # no proxy reaches this machine's own address
        session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True
    session.mount(url, HTTPAdapter(max_retries=RETRIES))
    return session


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def proxy_trouble(error: requests.RequestException) -> str | None:
    """Say what is wrong with the environment's proxy, if that is why a request failed."""
    match error:
        case InvalidSchema() if "SOCKS" in str(error):
            seen = "SOCKS needs pip install 'requests[socks]'"
        case ProxyError(args=[MaxRetryError(reason=urllib3.exceptions.ProxyError(original_error=cause))]):
            seen = str(cause).rpartition("] ")[2]  # of "...: [Errno 111] Connection refused" the last words
        case ProxyError() | InvalidProxyURL():
            seen = "it is not one"
        case _:
            return None
    return f"the proxy that HTTP_PROXY, HTTPS_PROXY or ALL_PROXY names cannot be used: {seen}"


Record = TypeVar("Record", Answer, Prediction, Explanation)


def _record(kind: type[Record], content: Any, **given: Any) -> Record:
    """Read a record from the server's JSON. Fields that it does not know, as a newer server sends them, are left out.

    Raises ClientError if a field is missing, as in the answer of another project's archive.
    """
    found = content if isinstance(content, dict) else {}
    values = {field.name: found[field.name] for field in fields(kind) if field.name in found} | given
    try:
        return kind(**values)
    except TypeError as error:
        named = [field.name for field in fields(kind) if field.name not in values]
        raise ClientError(
            f"The answer has no {named[0]}: if the archive is another project's, Client.ask returns what it answers."
        ) from error


def _tls_failure(url: str, error: requests.exceptions.SSLError) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return f"The certificate of {url} is not trusted: set REQUESTS_CA_BUNDLE to the file of its authority."
    return f"No TLS connection to {url} came about ({error}): check whether the address is one of http."


def read_answer(response: requests.Response, url: str) -> bytes:
    """Return the body of an answer that is not read yet, uncompressed. Raises ClientError past MOST_ANSWER_BYTES."""
    content = bytearray()
    with response:
        for piece in response.iter_content(PIECE_BYTES):
            content += piece
            if len(content) > MOST_ANSWER_BYTES:
                raise ClientError(
                    f"{url} answers with more than {MOST_ANSWER_BYTES:,} bytes, which neither the gateway nor "
                    "TorchServe does: check the address."
                )
    return bytes(content)


def _content_of(response: requests.Response, url: str) -> Any:
    """Return the JSON of a good answer, or a handler's text, which has no content type. Raises Refused for another."""
    is_good = response.status_code == requests.codes.ok
    answer = read_answer(response, url)
    try:
        content = json.loads(answer)
    except (ValueError, RecursionError):
        is_text = is_good and "Content-Type" not in response.headers
        content = answer.decode(errors="replace") if is_text else None
    if is_good and content is not None:
        return content
    refusal = content if isinstance(content, dict) else {}
    unnamed = f"{url} answered {response.status_code} {response.reason} and no more: is it the gateway or TorchServe?"
    if response.is_redirect:
        unnamed = f"{url} is redirected to {response.headers['Location']}: give that address."
    kind, message = refusal.get("type", response.reason), refusal.get("message", unnamed)
    raise Refused(response.status_code, kind, message)
