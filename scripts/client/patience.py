"""Try a prediction again when the server is only busy or has lost a worker: asking twice changes nothing there."""

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

from scripts.errors import ApiError

# 500 and 507 for a worker that died, 503 for a full queue.
PASSING = (500, 503, 507)
# After 0, 1, 2, 4 and 8 s, each but the first up to 1 s later, so that clients refused together come back apart:
# 15 s and more, in which a worker is back.
ATTEMPTS, FACTOR_SECONDS, JITTER_SECONDS = 5, 0.5, 1.0


class PatientRetry(Retry):
    """A request that ran into its time-out is not sent again: it may still wait in the server's queue.

    Nor is one that a server with another certificate would get: it stays another.
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
    """Return how a prediction is tried again: with growing pauses, whatever method it used."""
    return PatientRetry(
        total=ATTEMPTS,
        allowed_methods=None,
        status_forcelist=PASSING,
        backoff_factor=FACTOR_SECONDS,
        backoff_jitter=JITTER_SECONDS,
        raise_on_status=False,
    )


def patiently(ask: Callable[[], Any]) -> Any:
    """Call a function that asks the server otherwise than over HTTP, as often and with the same pauses."""
    for attempt in range(ATTEMPTS):
        try:
            return ask()
        except ApiError as error:
            if error.error["code"] not in PASSING:
                raise
        backoff = FACTOR_SECONDS * 2**attempt if attempt else 0
        time.sleep(backoff + random.uniform(0, JITTER_SECONDS if attempt else 0))  # noqa: S311
    return ask()
