"""What TorchServe answered, or why it did not."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Self

import httpx

from densenet_client import json_in
from densenet_serving.gateway.errors import Busy, error_body
from handler.answers import DECODE_SECONDS

JSON, PNG = "application/json", "image/png"
DECODED_ENOUGH = (
    "Decoding this client's images took more than its share of the workers' time: wait {} s, or send smaller images."
)
NO_WORKER = "has no worker to serve inference request"  # TorchServe says so of a full queue, too
WORKER_DIED = "Worker died."
NOT_JSON = "TorchServe's answer is not JSON."
TOO_LARGE = "The photo is larger than TorchServe's max_request_size: send a smaller one."


@dataclass(frozen=True)
class Answer:
    """An HTTP status and the bytes of the body: JSON, for an error {"code", "type", "message"}, or a PNG.

    decode_seconds: how long a worker took to decode the image, 0 if its archive does not say.
    retry_after: in how many seconds the client may ask again, 0 if nothing is known.
    """

    status: int
    body: bytes
    media_type: str = JSON
    decode_seconds: float = 0.0
    retry_after: int = 0

    @classmethod
    def of(cls, response: httpx.Response) -> Self:
        """Take a response as it is.

        One that is not called JSON is looked into: another project's handler names no type, TorchServe sends an empty
        413, and something else may answer in its place.
        """
        media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        status, seconds = response.status_code, seconds_in(response.headers.get(DECODE_SECONDS, ""))
        if media_type in (JSON, PNG):
            return cls(status, response.content, media_type, seconds)
        if (content := json_in(response)) is not None:
            is_text = content == response.text
            return cls(status, json.dumps(content).encode() if is_text else response.content, decode_seconds=seconds)
        status = status if response.is_error else HTTPStatus.BAD_GATEWAY
        return cls.error(status, TOO_LARGE if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE else NOT_JSON)

    @classmethod
    def error(cls, status: int, message: str, retry_after: int = 0) -> Self:
        return cls(int(status), error_body(status, message), retry_after=retry_after)

    @classmethod
    def wait(cls, seconds: int) -> Self:
        """Refuse a client that spent its share of the workers' time."""
        return cls.error(HTTPStatus.TOO_MANY_REQUESTS, DECODED_ENOUGH.format(seconds), seconds)

    @property
    def ok(self) -> bool:
        return self.status == HTTPStatus.OK

    @property
    def content(self) -> Any:
        """The decoded JSON, None if it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def message(self) -> str:
        """The sentence of an error, "" if another project's handler gave none."""
        content = None if self.ok else self.content
        return str(content.get("message", "")) if isinstance(content, dict) else ""

    @property
    def headers(self) -> dict[str, str] | None:
        """The header that says when to come back; with a full queue that of the gateway's own refusals."""
        if self.retry_after:
            return {"Retry-After": str(self.retry_after)}
        full = self.status == HTTPStatus.SERVICE_UNAVAILABLE and NO_WORKER in self.message
        return {"Retry-After": str(Busy.retry_after)} if full else None


def worker_died(response: httpx.Response) -> bool:
    died = response.status_code == HTTPStatus.INTERNAL_SERVER_ERROR and Answer.of(response).message == WORKER_DIED
    return died or response.status_code == HTTPStatus.INSUFFICIENT_STORAGE  # 507: it was killed


def seconds_in(text: str) -> float:
    """Read a number of seconds; 0.0 if the text is none."""
    try:
        seconds = float(text)
    except ValueError:
        return 0.0
    return seconds if math.isfinite(seconds) and seconds > 0 else 0.0
