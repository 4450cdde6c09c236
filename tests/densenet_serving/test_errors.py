from __future__ import annotations

import errno

import pytest

from densenet_serving.errors import reason_of


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "Connection refused"),
        (
            OSError(errno.ENOTDIR, "Cannot list directory '/a'. Detail: [errno 20] Not a directory"),
            "Cannot list directory '/a'",
        ),
        (OSError("AWS Error ACCESS_DENIED"), "AWS Error ACCESS_DENIED"),
        (RuntimeError("The actor died.\nIts logs:\n..."), "The actor died"),
        (ValueError(), "ValueError"),
    ],
)
def test_a_reason_is_one_line_without_its_end(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason
