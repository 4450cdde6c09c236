"""Ask a server what a photo shows: the gateway, or TorchServe itself.

    from densenet_client import Client

    client = Client("http://127.0.0.1:8000")
    answer = client.classify("cat.jpg", top_k=5)
    print(answer.class_name, answer.probability)

This file imports `httpx` and nothing of this project, so that you may copy it to a machine that has no more.

    ClientError          what happened and what to do, in one sentence
    ├── Unreachable      no server answers there, or not in time
    └── Refused          the server answered with an error
"""

from __future__ import annotations

import base64
import ipaddress
import json
import os
import random
import ssl
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, cast
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi
import httpx

Photo = str | Path | bytes
Question = Literal["predictions", "explanations"]
Outcome = httpx.Response | httpx.TransportError
# For an attempt, counted from 0, the seconds before the next one; None for an outcome that stays.
Retry = Callable[[int, Outcome], float | None]

TIMEOUT_SECONDS = 60.0
MOST_ANSWER_BYTES = 16_000_000  # TorchServe answers with at most 6.5 MB
# TorchServe answers 503 if its queue is full, 500 and 507 if a worker died, which is back within 15 s; the gateway 429
# past a key's rate. A prediction changes nothing, so it may be asked for again, but not after a time-out: the first
# request may still be at work. Where nothing listens, the address is wrong more often than the server is late.
PASSING = (429, 500, 503, 507)
LOST = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)
PAUSES = (0.0, 1.0, 2.0, 4.0, 8.0)  # or what Retry-After says; each but 0 up to a second longer, so that clients part
LONGEST_PAUSE = 60.0
BAD_PROXY = (httpx.InvalidURL, ValueError, ImportError)  # what its address in the environment makes httpx raise
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
    """A client of one server. Safe to share between threads.

    Without a `token` the server is a gateway, which needs an API `key` if it has any; it chooses the model itself.
    With an inference `token` it is TorchServe, which serves `model`. Keep keys and tokens out of programs: read them
    from the environment.

    For a certificate that no public authority signed, set SSL_CERT_FILE to the file of its own authority. A proxy that
    the environment names is used for every server but one of this machine; ~/.netrc is never read.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        token: str | None = None,
        model: str = "densenet121",
        timeout: float = TIMEOUT_SECONDS,
        retry: Retry | None = None,
    ) -> None:
        if not _is_address(url):
            raise ClientError(f"{url} is not the address of a server: give one such as https://photos.example.org.")
        if key and token:
            raise ClientError("A key is for the gateway, a token for TorchServe: give the one that the server takes.")
        if not (key or token or "").isascii():
            raise ClientError("The key or token has characters outside ASCII, which none has: check it.")
        self._url, self._timeout, self._retry = url.rstrip("/"), timeout, retry or pause_after
        self._model = model if token else None
        self._http = _open(self._url, token or key, timeout)
        weakref.finalize(self, self._http.close)

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
        if self._model is not None:
            return self._post(f"/{question}/{quote(self._model)}", content=image, headers=image_headers(parameters))
        given = {name: value for name, value in parameters.items() if value is not None}
        if question == "predictions":
            given = {"top_k": 1} | given  # without a parameter the gateway leaves out the probability
        return self._post(GATEWAY_PATHS[question], files={"file": image}, params=given)

    def _post(self, path: str, **options: Any) -> Any:
        request = self._http.build_request("POST", self._url + path, **options)
        try:
            return _content_of(send(self._http, request, self._retry), self._url)
        except httpx.TransportError as error:
            raise Unreachable(_failure(error, self._url, self._timeout)) from error


def image_headers(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers of a photo as a body, with its parameters. Headers hold ASCII: the rest is percent-encoded."""
    named = {name.replace("_", "-"): quote(str(value)) for name, value in parameters.items() if value is not None}
    return {"Content-Type": "application/octet-stream"} | named


def pause_after(attempt: int, outcome: Outcome, pauses: tuple[float, ...] = PAUSES) -> float | None:
    """Return how long to wait before a prediction is asked for again, None if that is no use."""
    answer = outcome if isinstance(outcome, httpx.Response) else None
    passing = answer.status_code in PASSING if answer is not None else isinstance(outcome, LOST)
    if not passing or attempt == len(pauses):
        return None
    named = answer.headers.get("Retry-After", "") if answer is not None else ""
    seconds = min(float(named), LONGEST_PAUSE) if named.isdecimal() else pauses[attempt]
    return seconds and seconds + random.random()  # noqa: S311


def send(http: httpx.Client, request: httpx.Request, retry: Retry) -> httpx.Response:
    """Send a request, and again if `retry` says so. Raises httpx.TransportError, and ClientError as `read` does."""
    attempt = 0
    while True:
        try:
            answer = read(http.send(request, stream=True))
            if (pause := retry(attempt, answer)) is None:
                return answer
        except httpx.TransportError as error:
            if (pause := retry(attempt, error)) is None:
                raise
        time.sleep(pause)
        attempt += 1


def read(response: httpx.Response) -> httpx.Response:
    """Return an answer with its body. Raises ClientError past MOST_ANSWER_BYTES."""
    body, stream = bytearray(), cast(httpx.SyncByteStream, response.stream)
    with closing(stream):
        if "Content-Encoding" in response.headers:  # 3 MB of gzip would become gigabytes
            raise ClientError(f"{response.url} answers compressed, which was not asked for: check the address.")
        for piece in stream:
            body += piece
            if len(body) > MOST_ANSWER_BYTES:
                raise ClientError(
                    f"{response.url} answers with more than {MOST_ANSWER_BYTES:,} bytes, which neither the gateway nor "
                    "TorchServe does: check the address."
                )
    response.stream = httpx.ByteStream(bytes(body))
    response.read()
    return response


def json_in(response: httpx.Response) -> Any:
    """Return an answer's JSON, or the text of another project's handler, which has no content type; None for others."""
    try:
        return json.loads(response.content)
    except (ValueError, RecursionError):
        is_text = response.is_success and "Content-Type" not in response.headers
        return response.text if is_text else None


def _content_of(response: httpx.Response, url: str) -> Any:
    """Return what a good answer holds. Raises Refused for another."""
    content = json_in(response)
    if response.is_success and content is not None:
        return content
    refusal = content if isinstance(content, dict) else {}
    status, reason = response.status_code, response.reason_phrase
    unnamed = f"{url} answered {status} {reason} and no more: is it the gateway or TorchServe?"
    if response.has_redirect_location:
        unnamed = f"{url} is redirected to {response.headers['Location']}: give that address."
    raise Refused(status, refusal.get("type", reason), refusal.get("message", unnamed))


def _open(url: str, secret: str | None, timeout: float) -> httpx.Client:
    """Open connections to one server. Raises Unreachable if the environment's certificates or proxy cannot be used."""
    headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {secret}"} if secret else {})
    try:
        trusted = _authorities() if url.startswith("https") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return httpx.Client(
            headers=headers, timeout=timeout, limits=httpx.Limits(), verify=trusted, trust_env=not _is_local(url)
        )
    except BAD_PROXY as error:
        raise Unreachable(_failure(error, url)) from error


def _authorities() -> ssl.SSLContext:
    """Trust public authorities, or those that the environment names. This takes 25 ms."""
    named = os.environ.get("SSL_CERT_FILE") or os.environ.get("REQUESTS_CA_BUNDLE") or certifi.where()
    is_folder = os.path.isdir(named)  # noqa: PTH112
    try:
        return ssl.create_default_context(cafile=None if is_folder else named, capath=named if is_folder else None)
    except OSError as error:
        raise Unreachable(f"{named} holds no certificates ({error}): correct SSL_CERT_FILE.") from error


def _is_address(url: str) -> bool:
    try:
        return url.startswith(("http://", "https://")) and bool(urlsplit(url).hostname and httpx.URL(url).host)
    except (httpx.InvalidURL, ValueError):
        return False


def _is_local(url: str) -> bool:
    """Tell whether an address is of this machine, which no proxy reaches."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def proxy_trouble(error: Exception, url: str) -> str | None:
    """Say what is wrong with the environment's proxy, if that is why there is no connection."""
    parts, proxies = urlsplit(url), getproxies()
    unconnected = isinstance(error, (httpx.ConnectError, httpx.ProxyError, OSError, *BAD_PROXY))
    if not unconnected or not (proxies.get(parts.scheme) or proxies.get("all")) or proxy_bypass(parts.hostname or ""):
        return None
    said = str(error).rpartition("] ")[2].strip(".')")  # of "[Errno 111] Connection refused" the words
    return f"the proxy that HTTP_PROXY, HTTPS_PROXY or ALL_PROXY names cannot be used: {said}"


def _failure(error: Exception, url: str, timeout: float = 0) -> str:
    said = str(error)
    if isinstance(error, httpx.TimeoutException):
        return f"{url} did not answer within {timeout:.0f} s: try again later."
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return f"The certificate of {url} is not trusted: set SSL_CERT_FILE to the file of its authority."
    if "[SSL" in said:
        return f"No TLS connection to {url} came about ({said}): check whether the address is one of http."
    if not _is_local(url) and (trouble := proxy_trouble(error, url)):
        return f"{url} could not be asked ({trouble}): correct that variable, or add the server's host to NO_PROXY."
    return f"No server answers at {url} ({said}): check the address, and that it runs."


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
