from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scripts.endpoint import KEY_FILE, Endpoint
from tests.scripts.web import Web, serve


@pytest.fixture
def web() -> Iterator[Web]:
    with serve() as running:
        yield running


def write_keys(folder: Path, inference: str = "inf", hours: float = 1) -> None:
    """Write the key file as TorchServe does."""
    expires = (datetime.now(UTC) + timedelta(hours=hours)).isoformat().replace("+00:00", "Z")
    keys = {
        "inference": {"key": inference, "expiration time": expires},
        "management": {"key": "man", "expiration time": expires},
        "API": {"key": "api"},
    }
    (folder / KEY_FILE).write_text(json.dumps(keys))


@pytest.fixture
def endpoint(web: Web, tmp_path: Path) -> Endpoint:
    """The local server, with valid keys in a run folder of its own."""
    write_keys(tmp_path)
    return Endpoint(web.url, web.url, web.url, tmp_path)
