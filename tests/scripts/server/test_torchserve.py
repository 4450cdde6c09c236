from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from handler.cores import default_workers
from scripts import paths, properties
from scripts.client.endpoint import KEY_FILE, STATE_FILE, Endpoint
from scripts.errors import CommandError
from scripts.server import processes, torchserve
from scripts.server.torchserve import Server
from tests.ports import free_port_range


def test_a_taken_port_starts_nothing(taken: int, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="taken"):
        torchserve.start(tmp_path / "run", tmp_path, [], paths.SERVER_CONFIG, taken)
    assert not (tmp_path / "run").exists()


def test_a_start_removes_what_a_server_left_that_ended_by_itself(
    running: Server, process: subprocess.Popen[bytes], fake_torchserve: Callable[[bool], None]
) -> None:
    process.kill()
    process.wait()
    fake_torchserve(True)
    folder = running.endpoint.folder
    started = torchserve.start(folder, folder, [], paths.SERVER_CONFIG, free_port_range())
    started.stop()
    assert started.temporary != running.temporary
    assert not running.temporary.exists()


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


def test_a_kill_asks_nobody_and_leaves_nothing(endpoint: Endpoint) -> None:
    (temporary := endpoint.folder / "temporary").mkdir()
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    worker = f"{deaf}; print(flush=True); input()"
    parent = f"import subprocess, sys; {deaf}; subprocess.run([sys.executable, '-c', {worker!r}])"
    with subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        started = psutil.Process(process.pid)
        [child] = started.children()
        Server(process.pid, started.create_time(), temporary, endpoint).kill()
        assert not started.is_running()
        assert not child.is_running()
    assert not temporary.exists()
    assert not (endpoint.folder / KEY_FILE).exists()


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
        monkeypatch.setattr(torchserve, "sys", SimpleNamespace(executable=str(program.with_name("python"))))
        monkeypatch.setattr(torchserve, "find_java", lambda: Path("/java/bin/java"))
        monkeypatch.setenv("PYTHONPATH", "/repository")

    return make


def test_start(fake_torchserve: Callable[[bool], None], tmp_path: Path) -> None:
    fake_torchserve(True)
    run_dir = tmp_path / "run"
    first = free_port_range()
    started = torchserve.start(run_dir, tmp_path, [], paths.SERVER_CONFIG, first)
    try:
        assert Server.find(run_dir) == started
        assert started.endpoint.inference == f"http://127.0.0.1:{first}"
        said = (run_dir / "logs" / "console.log").read_text()
        started_with = (
            f"--ts-config {run_dir}/config.properties --log-config {paths.LOG_CONFIG} --model-store {tmp_path}"
        )
        assert f"started --start --ncs {started_with} None" in said
        written = properties.read(run_dir / "config.properties")
        assert written["model_store"] == str(tmp_path)
        assert written["default_workers_per_model"] == str(default_workers())
        assert written["grpc_management_port"] == str(first + 4)
        assert written["metrics_config"] == str(paths.METRICS_CONFIG)
    finally:
        started.stop()
    assert Server.find(run_dir) is None


def test_a_run_folder_that_others_could_write_into_is_closed(tmp_path: Path) -> None:
    (run_dir := tmp_path / "run").mkdir()
    run_dir.chmod(0o777)
    torchserve.prepare(run_dir)
    assert run_dir.stat().st_mode & 0o777 == 0o755


def test_a_torchserve_that_fails(
    fake_torchserve: Callable[[bool], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_torchserve(False)
    temporary = Path(tempfile.mkdtemp(prefix="ds-"))
    monkeypatch.setattr(torchserve, "folder_for_sockets", lambda _: temporary)
    with pytest.raises(CommandError, match="TorchServe did not start: started --start"):
        torchserve.start(tmp_path / "run", tmp_path, [], paths.SERVER_CONFIG, free_port_range())
    assert not (tmp_path / "run" / STATE_FILE).exists()
    assert not temporary.exists()
