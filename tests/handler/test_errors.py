from __future__ import annotations

import pytest

from handler.errors import (
    ArchiveError,
    BadRequest,
    HandlerError,
    PayloadTooLarge,
    RequestError,
    ServiceUnavailable,
    UnsupportedMediaType,
)


@pytest.mark.parametrize(
    ("kind", "status"),
    [(BadRequest, 400), (PayloadTooLarge, 413), (UnsupportedMediaType, 415), (ServiceUnavailable, 503)],
)
def test_every_request_error_has_its_status(kind: type[RequestError], status: int) -> None:
    assert kind.status == status
    assert issubclass(kind, HandlerError)


def test_a_broken_archive_is_nobodys_request() -> None:
    assert issubclass(ArchiveError, HandlerError)
    assert not issubclass(ArchiveError, RequestError)
