from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from handler.settings import default_workers
from scripts import paths, processes, properties, server
from scripts.archive import MANIFEST
from scripts.client import Client
from scripts.endpoint import KEY_FILE, STATE_FILE, Endpoint
from scripts.errors import CommandError
from scripts.integrity import digest_file
from scripts.server import Server, check_port_is_free, is_ready, make_temporary, ports_from, worker_traceback
from tests.scripts.web import Web, as_json

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
    monkeypatch.setattr(server, "TRACEBACK_SECONDS", 0)
    monkeypatch.setattr(server, "POLL_SECONDS", 0.01)


def test_five_ports_in_a_row() -> None:
    assert ports_from(9000) == {
        "inference_address": "http://127.0.0.1:9000",
        "management_address": "http://127.0.0.1:9001",
        "metrics_address": "http://127.0.0.1:9002",
        "grpc_inference_port": "9003",
        "grpc_management_port": "9004",
    }


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield int(holder.getsockname()[1])


@pytest.mark.parametrize("form", ["{}", "http://127.0.0.1:{}"])
def test_a_taken_port(taken: int, form: str) -> None:
    with pytest.raises(CommandError, match=f"Port {taken} is taken by another program: .* --port"):
        check_port_is_free("inference_address", form.format(taken))


def test_a_free_port(nobody: str) -> None:
    check_port_is_free("grpc_inference_port", nobody)


def test_an_address_without_a_port() -> None:
    with pytest.raises(CommandError, match=r"metrics_address=.* names no port"):
        check_port_is_free("metrics_address", "http://127.0.0.1")


def test_a_taken_port_starts_nothing(taken: int, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="taken"):
        server.start(tmp_path / "run", tmp_path, paths.SERVER_CONFIG, taken)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("caught", "first"), [("", "Backend worker process died."), (CAUGHT, "Traceback (of the import):")]
)
def test_the_words_of_the_first_worker_that_died(tmp_path: Path, caught: str, first: str) -> None:
    log = tmp_path / "model_log.log"
    log.write_text(LOG.format(caught=caught))
    lines = (worker_traceback(log) or "").splitlines()
    assert "handler.errors.ArchiveError: Why." in lines
    assert lines[-1] == "handler.errors.ArchiveError: Why."
    assert first in lines or caught == ""
    assert not any("MODEL_LOG" in line or "s_name_part0" in line for line in lines)


def test_the_words_of_a_worker_in_a_json_log(tmp_path: Path) -> None:
    log = tmp_path / "model_log.log"
    messages = [line.partition(" MODEL_LOG - ")[2] for line in LOG.format(caught="").splitlines()]
    cut_short = '{"level":"INFO","mess'
    log.write_text("".join(json.dumps({"level": "INFO", "message": text}) + "\n" for text in messages) + cut_short)
    (tmp_path / "plain.log").write_text(LOG.format(caught=""))
    assert worker_traceback(log) == worker_traceback(tmp_path / "plain.log")


@pytest.mark.parametrize("text", [None, "", LOG.format(caught="").partition("Backend")[0]])
def test_no_worker_died(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "model_log.log").write_text(text)
    assert worker_traceback(tmp_path / "model_log.log") is None


def test_archives(tmp_path: Path) -> None:
    for name in ("b.mar", "a.mar", "c.zip", ".a.mar.partial"):
        (tmp_path / name).touch()
    assert [path.name for path in server.archives_in(tmp_path)] == ["a.mar", "b.mar"]


def write_archive(path: Path, version: str = "1.0") -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(MANIFEST, json.dumps({"model": {"modelName": path.stem, "modelVersion": version}}))
    return path


def test_only_checked_archives_are_loaded(tmp_path: Path) -> None:
    write_archive(tmp_path / "b.mar")
    write_archive(tmp_path / "a.mar")
    (tmp_path / "c.tar.gz").touch()
    (tmp_path / "folder").mkdir()
    assert server.checked_archives(server.archives_in(tmp_path)) == "a.mar,b.mar"


def test_the_newest_version_is_loaded_first(tmp_path: Path) -> None:
    paths = [write_archive(tmp_path / f"m-{version}.mar", version) for version in ("1.0", "10.0", "2.0", "2.0-rc1")]
    assert server.checked_archives(paths) == "m-10.0.mar,m-2.0-rc1.mar,m-2.0.mar,m-1.0.mar"


@pytest.mark.parametrize("name", ["a,b.mar", "a=b.mar"])
def test_a_name_that_load_models_would_split(tmp_path: Path, name: str) -> None:
    write_archive(tmp_path / name)
    with pytest.raises(CommandError, match="rename it"):
        server.checked_archives(server.archives_in(tmp_path))


def test_a_changed_archive_starts_nothing(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "a.mar")
    digest_file(path).write_text(f"{'0' * 64}  a.mar\n")
    with pytest.raises(CommandError, match="was changed or damaged after it was built"):
        server.start(tmp_path / "run", tmp_path, paths.SERVER_CONFIG, None)
    assert not (tmp_path / "run").exists()


def test_a_temporary_folder_has_room_for_a_sockets_name() -> None:
    folder = make_temporary()
    folder.rmdir()
    assert len(str(folder)) <= server.LONGEST_TEMPORARY


def test_a_long_temporary_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 90)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with pytest.raises(CommandError, match="too long for a worker's socket: set TMPDIR"):
        make_temporary()
    assert list(deep.iterdir()) == []


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as running:
        yield running
        running.kill()


@pytest.fixture
def running(process: subprocess.Popen[bytes], endpoint: Endpoint) -> Server:
    temporary = endpoint.folder / "temporary"
    temporary.mkdir()
    made = Server(process.pid, psutil.Process(process.pid).create_time(), temporary, endpoint)
    made.save()
    return made


def test_a_start_removes_what_a_server_left_that_ended_by_itself(
    running: Server, process: subprocess.Popen[bytes], fake_torchserve: Callable[[bool], None], nobody: str
) -> None:
    process.kill()
    process.wait()
    fake_torchserve(True)
    folder = running.endpoint.folder
    started = server.start(folder, folder, paths.SERVER_CONFIG, int(nobody.rsplit(":", 1)[1]))
    started.stop()
    assert started.temporary != running.temporary
    assert not running.temporary.exists()


def test_a_damaged_archive_starts_nothing(tmp_path: Path, nobody: str) -> None:
    (tmp_path / "m.mar").write_bytes(b"PK half of it")
    with pytest.raises(CommandError, match=r"m\.mar is not a model archive, or damaged"):
        server.start(tmp_path / "run", tmp_path, paths.SERVER_CONFIG, int(nobody.rsplit(":", 1)[1]))
    assert not (tmp_path / "run").exists()


def test_a_running_server_is_found_again(running: Server) -> None:
    assert Server.find(running.endpoint.folder) == running


def test_no_server(tmp_path: Path) -> None:
    assert Server.find(tmp_path) is None


def test_a_later_process_of_the_same_number_is_not_the_server(running: Server) -> None:
    state_file = running.endpoint.folder / STATE_FILE
    state = json.loads(state_file.read_text())
    state_file.write_text(json.dumps(state | {"created": state["created"] - 60}))
    assert Server.find(running.endpoint.folder) is None


def test_a_state_file_whose_process_is_gone(running: Server, process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    assert Server.find(running.endpoint.folder) is None


def test_stop_leaves_nothing(running: Server, process: subprocess.Popen[bytes]) -> None:
    running.stop()
    assert not psutil.pid_exists(process.pid)
    assert not running.temporary.exists()
    assert not (running.endpoint.folder / STATE_FILE).exists()
    assert not (running.endpoint.folder / KEY_FILE).exists()
    running.stop()


def test_a_server_that_does_not_listen_is_killed(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "STOP_SECONDS", 0.2)
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", deaf], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        Server(process.pid, psutil.Process(process.pid).create_time(), endpoint.folder / "none", endpoint).stop()
        assert process.wait() == -9


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
def test_ready_means_every_worker(endpoint: Endpoint, web: Web, answer: Any, ready: bool) -> None:
    web.on("GET /models/m/all", as_json(answer))
    assert is_ready(Client(endpoint), "m", "1.0") is ready


def test_a_server_that_does_not_listen_yet_is_not_ready(endpoint: Endpoint, nobody: str) -> None:
    assert is_ready(Client(Endpoint(nobody, nobody, nobody, endpoint.folder)), "m", "1.0") is False


@pytest.fixture
def mar(tmp_path: Path) -> Path:
    path = tmp_path / "m.mar"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(MANIFEST, json.dumps({"model": {"modelName": "m", "modelVersion": "1.0"}}))
    return path


def test_waiting_until_ready(running: Server, mar: Path, web: Web) -> None:
    answers = iter([described(0), described(0), described(1)])
    said: list[str] = []
    web.on("GET /models/m/all", lambda _: as_json(next(answers)))
    server.wait_until_ready(running, [mar], said.append)
    assert said == ["Waiting for m"] * 3


def a_dead_server(running: Server) -> None:
    (running.logs / "ts_log.log").write_text("Why\n")
    (running.logs / "console.log").write_text("Address already in use\n")
    process = psutil.Process(running.pid)
    process.kill()
    process.wait()


def a_dead_worker(running: Server) -> None:
    (running.logs / "model_log.log").write_text(LOG.format(caught=""))


def nothing(running: Server) -> None:
    (running.logs / "model_log.log").write_text("still loading\n")


@pytest.mark.parametrize(
    ("happens", "said"),
    [
        (a_dead_server, "TorchServe ended while starting:\nWhy.*\nAddress already in use"),
        (a_dead_worker, "A worker cannot start:\n(.|\n)*ArchiveError: Why"),
        (nothing, "No answer after 0 s:\nstill loading"),
    ],
)
def test_waiting_in_vain(
    running: Server, mar: Path, happens: Callable[[Server], None], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "READY_SECONDS", 0)
    running.logs.mkdir()
    happens(running)
    with pytest.raises(CommandError, match=said):
        server.wait_until_ready(running, [mar], lambda _: None)


FAKE_TORCHSERVE = """#!{python}
import os, pathlib, subprocess, sys
print("started", *sys.argv[1:], os.environ.get("PYTHONPATH"))
process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
process.returncode = 0
{write}pathlib.Path(os.environ["TMPDIR"], ".model_server.pid").write_text(str(process.pid))
{kill}process.kill()
"""


@pytest.fixture
def fake_torchserve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[bool], None]:
    """Put a small program in the place of torchserve, which leaves a process and its number, or fails."""

    def make(works: bool) -> None:
        text = FAKE_TORCHSERVE.format(python=sys.executable, write="" if works else "#", kill="#" if works else "")
        program = tmp_path / "bin" / "torchserve"
        program.parent.mkdir()
        program.write_text(text)
        program.chmod(0o755)
        monkeypatch.setattr(server, "sys", SimpleNamespace(executable=str(program.with_name("python"))))
        monkeypatch.setattr(server, "find_java", lambda: Path("/java/bin/java"))
        monkeypatch.setenv("PYTHONPATH", "/repository")

    return make


def test_start(fake_torchserve: Callable[[bool], None], tmp_path: Path, nobody: str) -> None:
    fake_torchserve(True)
    run_dir = tmp_path / "run"
    first = int(nobody.rsplit(":", 1)[1])
    started = server.start(run_dir, tmp_path, paths.SERVER_CONFIG, first)
    try:
        assert Server.find(run_dir) == started
        assert started.endpoint.inference == nobody
        said = (run_dir / "logs" / "console.log").read_text()
        assert f"--start --ncs --ts-config {run_dir}/config.properties --log-config {paths.LOG_CONFIG} None" in said
        written = properties.read(run_dir / "config.properties")
        assert written["model_store"] == str(tmp_path)
        assert written["default_workers_per_model"] == str(default_workers())
        assert written["grpc_management_port"] == str(first + 4)
        assert written["metrics_config"] == str(paths.METRICS_CONFIG)
    finally:
        started.stop()
    assert Server.find(run_dir) is None


def test_a_metrics_file_that_is_not_there(tmp_path: Path) -> None:
    config = tmp_path / "config.properties"
    config.write_text("metrics_config=mine.yaml\n")
    with pytest.raises(CommandError, match=f"There is no {tmp_path}/mine.yaml, which .* names as metrics_config: "):
        server.start(tmp_path / "run", tmp_path, config, None)
    assert not (tmp_path / "run").exists()


def test_a_torchserve_that_fails(
    fake_torchserve: Callable[[bool], None], tmp_path: Path, nobody: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_torchserve(False)
    temporary = Path(tempfile.mkdtemp(prefix="ds-"))
    monkeypatch.setattr(server, "make_temporary", lambda: temporary)
    with pytest.raises(CommandError, match="TorchServe did not start: started --start"):
        server.start(tmp_path / "run", tmp_path, paths.SERVER_CONFIG, int(nobody.rsplit(":", 1)[1]))
    assert not (tmp_path / "run" / STATE_FILE).exists()
    assert not temporary.exists()
