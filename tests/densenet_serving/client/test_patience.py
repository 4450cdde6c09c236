from __future__ import annotations

import pytest
from urllib3 import HTTPResponse
from urllib3.exceptions import MaxRetryError

from densenet_serving.client import patience


def test_pauses_grow_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "JITTER_SECONDS", 0.0)
    retry = patience.patient_retry()
    pauses = []
    for _ in range(patience.ATTEMPTS):
        retry = retry.increment("POST", "/", error=None, response=HTTPResponse(status=503))
        pauses.append(retry.get_backoff_time())
    assert pauses == [0, 1, 2, 4, 8]
    with pytest.raises(MaxRetryError):
        retry.increment("POST", "/", response=HTTPResponse(status=503))


def test_pauses_differ_between_clients() -> None:
    retry = patience.patient_retry()
    for _ in range(2):
        retry = retry.increment("POST", "/", response=HTTPResponse(status=503))
    assert len({retry.get_backoff_time() for _ in range(10)}) > 1
