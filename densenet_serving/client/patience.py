"""Retry a prediction if the server is busy or has lost a worker. Predictions change nothing, so a retry is safe."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from urllib3.connectionpool import ConnectionPool
from urllib3.exceptions import ReadTimeoutError, SSLError
from urllib3.response import BaseHTTPResponse
from urllib3.util import Retry

from densenet_serving.errors import ApiError

# 500 and 507: a worker died. 503: the queue is full.
PASSING = (500, 503, 507)
# TorchServe says so of a full queue, and of a model without workers: over gRPC it says no more.
NO_WORKER = "has no worker to serve inference request"
# Pauses of 0, 1, 2, 4 and 8 s, each but the first up to 1 s longer, so that clients that were refused together do not
# come back together. In all 15 s or more, in which a worker starts again.
ATTEMPTS, FACTOR_SECONDS, JITTER_SECONDS = 5, 0.5, 1.0


class PatientRetry(Retry):
    """Retries of urllib3, but not after a timeout: the request may still wait in the server's queue.

    A server with another certificate is not asked again either, since a retry does not change that.
    """

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: BaseHTTPResponse | None = None,
        error: Exception | None = None,
        _pool: ConnectionPool | None = None,
        _stacktrace: TracebackType | None = None,
    ) -> Self:
        if isinstance(error, ReadTimeoutError | SSLError):
            raise error
        return super().increment(method, url, response, error, _pool, _stacktrace)


def patient_retry() -> PatientRetry:
    """Return the retries of a prediction: with growing pauses and for every HTTP method."""
    return PatientRetry(
        total=ATTEMPTS,
        allowed_methods=None,
        status_forcelist=PASSING,
        backoff_factor=FACTOR_SECONDS,
        backoff_jitter=JITTER_SECONDS,
        raise_on_status=False,
    )


def patiently(ask: Callable[[], Any]) -> Any:
    """Call a function that asks the server by another protocol than HTTP, with the same retries and pauses."""
    for attempt in range(ATTEMPTS):
        try:
            return ask()
        except ApiError as error:
            if error.error["code"] not in PASSING:
                raise
        backoff = FACTOR_SECONDS * 2**attempt if attempt else 0
        time.sleep(backoff + random.uniform(0, JITTER_SECONDS if attempt else 0))  # noqa: S311
    return ask()
