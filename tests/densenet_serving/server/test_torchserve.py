from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from densenet_serving import paths, properties
from densenet_serving.client.endpoint import KEY_FILE, STATE_FILE, Endpoint
from densenet_serving.errors import CommandError
from densenet_serving.server import processes, torchserve
from densenet_serving.server.processes import Identity
from densenet_serving.server.torchserve import Server
from handler.cores import default_workers
from tests.ports import free_port_range


def test_a_taken_port_starts_nothing(taken: int, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="taken"):
        torchserve.start(tmp_path / "run", tmp_path, [], paths.SERVER_CONFIG, taken)
    assert not (tmp_path / "run").exists()


def test_a_start_removes_what_a_server_left_that_ended_by_itself(
    running: Server, process: subprocess.Popen[bytes], fake_java: Callable[[str], None]
) -> None:
    process.kill()
    process.wait()
    fake_java(WAITS)
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
    state_file.write_text(json.dumps(state | {"start": f"{state['start']}0"}))
    assert Server.find(running.endpoint.folder) is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"pid": 1, "created": 2.0, "temporary": "/tmp/x"}', '{"endpoint": {}}']
)
def test_a_record_that_is_damaged_or_of_an_older_version(tmp_path: Path, text: str) -> None:
    (tmp_path / STATE_FILE).write_text(text)
    with pytest.raises(CommandError, match=r"server.json is damaged.*: densenet stop ends what runs there"):
        Server.find(tmp_path)


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
        Server(Identity.of(process.pid), endpoint.folder / "none", endpoint).stop()
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
        Server(Identity.of(process.pid), temporary, endpoint).kill()
        assert not started.is_running()
        assert not child.is_running()
    assert not temporary.exists()
    assert not (endpoint.folder / KEY_FILE).exists()


# Programs in the place of Java.
SAYS = 'import os, sys; print(*sys.argv[1:], os.environ.get("PYTHONPATH"), flush=True)'
WAITS = f"{SAYS}; import time; time.sleep(60)"
ENDS_AT_ONCE = "import sys; sys.exit('Could not reserve enough space for object heap')"


@pytest.fixture
def fake_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Put a small program in the place of Java."""

    def make(program: str) -> None:
        java = tmp_path / "bin" / "java"
        java.parent.mkdir()
        java.write_text(f"#!{sys.executable}\n{program}\n")
        java.chmod(0o755)
        monkeypatch.setattr(torchserve, "find_java", lambda: java)
        monkeypatch.setenv("PYTHONPATH", "/repository")

    return make


def start(run_dir: Path) -> Server:
    return torchserve.start(run_dir, run_dir.parent, [], paths.SERVER_CONFIG, free_port_range())


def test_start(fake_java: Callable[[str], None], tmp_path: Path) -> None:
    fake_java(WAITS)
    run_dir = tmp_path / "run"
    first = free_port_range()
    started = torchserve.start(run_dir, tmp_path, [], paths.SERVER_CONFIG, first)
    try:
        assert Server.find(run_dir) == started
        assert started.endpoint.inference == f"http://127.0.0.1:{first}"
        wait_for_text(run_dir / "logs" / "console.log")
        said = (run_dir / "logs" / "console.log").read_text()
        assert f"-Dlog4j.configurationFile={paths.LOG_CONFIG.as_uri()} " in said
        assert said.count("log4j") == 2
        assert f"-Djava.io.tmpdir={started.temporary} " in said
        assert f"-f {run_dir}/config.properties -s {tmp_path} -ncs None" in said
        written = properties.read(run_dir / "config.properties")
        assert written["model_store"] == str(tmp_path)
        assert written["default_workers_per_model"] == str(default_workers())
        assert written["grpc_management_port"] == str(first + 4)
        assert written["metrics_config"] == str(paths.METRICS_CONFIG)
    finally:
        started.stop()
    assert Server.find(run_dir) is None


def wait_for_text(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not path.read_text().endswith("\n"):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_models_are_unpacked_in_the_run_folder(fake_java: Callable[[str], None], tmp_path: Path) -> None:
    fake_java(WAITS)
    started = start(tmp_path / "run")
    assert started.temporary.parent == tmp_path / "run"
    started.kill()
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["config.properties", "logs"]


def test_a_java_that_ends_at_once_has_ended(fake_java: Callable[[str], None], tmp_path: Path) -> None:
    fake_java(ENDS_AT_ONCE)
    started = start(tmp_path / "run")
    psutil.wait_procs([psutil.Process(started.pid)])
    assert started.process() is None
    started.kill()
    assert "Could not reserve enough space" in (started.logs / "console.log").read_text()


def test_a_java_that_cannot_be_started(fake_java: Callable[[str], None], tmp_path: Path) -> None:
    fake_java(WAITS)
    (tmp_path / "bin" / "java").chmod(0o644)
    with pytest.raises(CommandError, match=r"bin/java cannot be started \(Permission denied\): install Java"):
        start(tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["config.properties", "logs"]


def test_a_record_that_cannot_be_written_leaves_no_process(
    fake_java: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Server) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    fake_java(WAITS)
    monkeypatch.setattr(Server, "save", full)
    with pytest.raises(OSError, match="No space left"):
        start(tmp_path / "run")
    assert processes.started_for("TorchServe", tmp_path / "run") == []


def test_a_server_whose_folder_was_removed_is_named(fake_java: Callable[[str], None], tmp_path: Path) -> None:
    fake_java(WAITS)
    run_dir = tmp_path / "run"
    started = start(run_dir)
    wait_for_text(started.logs / "console.log")
    shutil.rmtree(run_dir)
    try:
        with pytest.raises(
            CommandError, match=rf"TorchServe \(pid {started.pid}\) was started with {run_dir} and still"
        ):
            torchserve.check_no_lost_server(run_dir)
    finally:
        started.kill()
    torchserve.check_no_lost_server(run_dir)


def test_a_run_folder_that_others_could_write_into_is_closed(tmp_path: Path) -> None:
    (run_dir := tmp_path / "run").mkdir()
    run_dir.chmod(0o777)
    torchserve.prepare(run_dir)
    assert run_dir.stat().st_mode & 0o777 == 0o755
