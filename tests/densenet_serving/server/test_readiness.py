from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from densenet_serving.build.archives import Archive
from densenet_serving.client.endpoint import Endpoint
from densenet_serving.client.http import Client
from densenet_serving.errors import CommandError
from densenet_serving.server import processes, start
from densenet_serving.server.start import is_ready, wait_until_ready, worker_traceback
from densenet_serving.server.torchserve import Server
from tests.densenet_serving.build.archive_files import write_archive
from tests.local_server import LocalServer, as_json

LOG = """\
2026-01-01T00:00:00,000 [INFO ] W-9000-m_1.0-stdout MODEL_LOG - s_name_part0=/tmp/.ts.sock, s_name_part1=9000, pid=7
2026-01-01T00:00:01,000 [INFO ] W-9000-m_1.0-stdout MODEL_LOG - Python runtime: 3.11.7
{caught}\
2026-01-01T00:00:02,000 [INFO ] W-9000-m_1.0-stdout MODEL_LOG - Backend worker process died.
2026-01-01T00:00:02,000 [INFO ] W-9000-m_1.0-stdout MODEL_LOG - Traceback (most recent call last):
2026-01-01T00:00:02,000 [INFO ] W-9000-m_1.0-stdout MODEL_LOG -   File "classifier.py", line 1
2026-01-01T00:00:02,000 [INFO ] W-9000-m_1.0-stdout MODEL_LOG - handler.errors.ArchiveError: Why.
2026-01-01T00:00:03,000 [INFO ] W-9000-m_1.0-stdout MODEL_LOG - s_name_part0=/tmp/.ts.sock, s_name_part1=9000, pid=8
2026-01-01T00:00:04,000 [INFO ] W-9000-m_1.0-stdout MODEL_LOG - Backend worker process died.
"""
CAUGHT = "2026-01-01T00:00:01,000 [INFO ] W-9000-m_1.0-stdout MODEL_LOG - Traceback (of the import):\n"


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "TRACEBACK_SECONDS", 0)
    monkeypatch.setattr(start, "POLL_SECONDS", 0.01)


@pytest.mark.parametrize(
    ("caught", "first"), [("", "Traceback (most recent call last):"), (CAUGHT, "Traceback (of the import):")]
)
@pytest.mark.parametrize("as_json", [True, False])
def test_the_words_of_the_first_worker_that_died(tmp_path: Path, caught: str, first: str, as_json: bool) -> None:
    """Its reason can be before the line that says so. The last line of a log may not be whole yet."""
    text = LOG.format(caught=caught)
    if as_json:
        messages = [line.partition(" MODEL_LOG - ")[2] for line in text.splitlines()]
        text = "".join(json.dumps({"level": "INFO", "message": message}) + "\n" for message in messages)
        text += '{"level":"INFO","mess'
    (log := tmp_path / "model_log.log").write_text(text)
    lines = (worker_traceback(log) or "").splitlines()
    assert (lines[0], lines[-1]) == (first, "handler.errors.ArchiveError: Why.")
    assert not any("MODEL_LOG" in line or "s_name_part0" in line for line in lines)


@pytest.mark.parametrize("text", [None, "", LOG.format(caught="").partition("Backend")[0]])
def test_no_worker_died(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "model_log.log").write_text(text)
    assert worker_traceback(tmp_path / "model_log.log") is None


def described(ready: int, workers: int = 1, version: str = "1.0") -> list[dict[str, Any]]:
    status = [{"status": "READY" if i < ready else "LOADING"} for i in range(workers)]
    return [{"modelVersion": version, "workers": status, "minWorkers": workers}]


@pytest.mark.parametrize(
    ("answer", "ready"),
    [
        (described(1), True),
        (described(0), False),
        (described(1, workers=2), False),
        (described(2, workers=2), True),
        (described(0, workers=0), False),
        (described(1, version="2.0"), False),
        ([], False),
    ],
)
def test_ready_means_every_worker(endpoint: Endpoint, local: LocalServer, answer: Any, ready: bool) -> None:
    local.on("GET /models/m/all", as_json(answer))
    assert is_ready(Client(endpoint), "m", "1.0") is ready


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive.read(write_archive(tmp_path / "m.mar"))


def test_waiting_until_ready(running: Server, archive: Archive, local: LocalServer, nobody: str) -> None:
    assert not is_ready(Client(Endpoint(nobody, nobody, nobody, running.endpoint.folder)), "m", "1.0")
    answers = iter([described(0), described(0), described(1)])
    said: list[str] = []
    local.on("GET /models/m/all", lambda _: as_json(next(answers)))
    wait_until_ready(running, [archive], said.append)
    assert said == ["Waiting for m"] * 3


def a_dead_server(running: Server) -> None:
    (running.logs / "ts_log.log").write_text("Why\n")
    (running.logs / "console.log").write_text("Address already in use\n")
    processes.kill(running.process)


def a_dead_worker(running: Server) -> None:
    (running.logs / "model_log.log").write_text(LOG.format(caught=""))


def nothing(running: Server) -> None:
    (running.logs / "model_log.log").write_text("still loading\n")


@pytest.mark.parametrize(
    ("happens", "named"),
    [
        (a_dead_server, "Why.*\nAddress already in use"),
        (a_dead_worker, "(.|\n)*ArchiveError: Why"),
        (nothing, " 0 s:\nstill loading"),
    ],
)
def test_waiting_in_vain_ends_with_the_reason(
    running: Server, archive: Archive, happens: Callable[[Server], None], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "READY_SECONDS", 0)
    running.logs.mkdir()
    happens(running)
    with pytest.raises(CommandError, match=named):
        wait_until_ready(running, [archive], lambda _: None)
