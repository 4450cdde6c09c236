"""What every refusal of a file has in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from densenet_serving.errors import CommandError


@contextmanager
def refused(path: Path, why: str, error: type[CommandError] = CommandError) -> Iterator[None]:
    """Expect that the block refuses a file, in one line that names it and matches `why`, a regular expression."""
    with pytest.raises(error, match=why) as refusal:
        yield
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)
