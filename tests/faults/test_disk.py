"""The disk fills up while the server logs."""

from __future__ import annotations

from pathlib import Path

import pytest

from densenet_serving.client.http import Client
from densenet_serving.server.torchserve import Server
from tests.faults.conftest import workers
from tests.faults.load import Target, closed_loop, statuses

REQUESTS = 40


def test_a_server_that_cannot_log_still_answers(
    running: Server, server_disk: tuple[Path, bool], target: Target, client: Client, photo: bytes
) -> None:
    folder, is_small = server_disk
    if not is_small:
        pytest.skip("only root may mount a small file system")
    pids = workers(client)
    ballast = folder / "ballast"
    try:
        fill(ballast)
        answers = closed_loop(lambda: target.ask(photo), 4, count=REQUESTS)
    finally:
        ballast.unlink()

    assert statuses(answers) == {200: REQUESTS}
    assert workers(client) == pids
    assert statuses([target.ask(photo)]) == {200: 1}


def fill(path: Path) -> None:
    """Write until the file system has no room for another byte."""
    with path.open("wb", buffering=0) as file:
        for size in (100_000, 1_000, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
