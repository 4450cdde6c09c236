"""What TorchServe answered, or why it did not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Self

import httpx

from densenet_client import json_in
from densenet_serving.gateway.errors import RETRY_SOON, error_content

DECODE_SECONDS = "X-Decode-Seconds"  # of the handler's answer
DECODED_ENOUGH = (
    "Decoding this client's images took more than its share of the workers' time: wait {} s, or send smaller images."
)
NO_WORKER = "has no worker to serve inference request"  # TorchServe says so of a full queue, too
WORKER_DIED = "Worker died."
NOT_JSON = "TorchServe's answer is not JSON."
TOO_LARGE = "The photo is larger than TorchServe's max_request_size: send a smaller one."


@dataclass(frozen=True)
class Answer:
    """An HTTP status and decoded JSON, which for an error is {"code", "type", "message"}.

    decode_seconds: how long a worker took to decode the image, 0 if its archive does not say.
    retry_after: in how many seconds the client may ask again, 0 if nothing is known.
    """

    status: int
    content: Any
    decode_seconds: float = 0.0
    retry_after: int = 0

    @classmethod
    def of(cls, response: httpx.Response) -> Self:
        """Read a response. TorchServe sends an empty 413, and what a handler wrote as text without a content type."""
        content, status = json_in(response), response.status_code
        if content is not None:
            return cls(status, content, seconds_in(response.headers.get(DECODE_SECONDS, "")))
        status = status if response.is_error else HTTPStatus.BAD_GATEWAY
        return cls.error(status, TOO_LARGE if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE else NOT_JSON)

    @classmethod
    def error(cls, status: int, message: str) -> Self:
        return cls(int(status), error_content(status, message))

    @classmethod
    def wait(cls, seconds: int) -> Self:
        """Refuse a client that spent its share of the workers' time."""
        status = HTTPStatus.TOO_MANY_REQUESTS
        return cls(status, error_content(status, DECODED_ENOUGH.format(seconds)), retry_after=seconds)

    @property
    def ok(self) -> bool:
        return self.status == HTTPStatus.OK

    @property
    def message(self) -> str:
        """The sentence of an error, "" if another project's handler gave none."""
        return str(self.content.get("message", "")) if isinstance(self.content, dict) else ""

    @property
    def headers(self) -> dict[str, str] | None:
        """The header that says when to come back; with a full queue that of the gateway's own refusals."""
        if self.retry_after:
            return {"Retry-After": str(self.retry_after)}
        full = self.status == HTTPStatus.SERVICE_UNAVAILABLE and NO_WORKER in self.message
        return RETRY_SOON if full else None


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
