from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from densenet_serving import paths, properties
from densenet_serving.errors import CommandError
from densenet_serving.server import java, processes, torchserve
from densenet_serving.server.torchserve import Server
from handler.cores import default_workers
from tests.ports import free_port_range
from tests.waiting import until

# Programs in the place of Java.
WAITS = 'import os, sys; print(*sys.argv[1:], os.environ.get("PYTHONPATH"), flush=True); import time; time.sleep(60)'
ENDS_AT_ONCE = "import sys; sys.exit('Could not reserve enough space for object heap')"


@pytest.mark.parametrize("end", [Server.stop, Server.kill])
def test_a_running_server_is_found_and_ended(running: Server, end: Callable[[Server], None]) -> None:
    folder = running.endpoint.folder
    assert Server.find(folder) == running
    assert Server.find(folder / "other") is None
    end(running)
    end(running)
    assert Server.find(folder) is None
    assert [path.name for path in folder.iterdir()] == ["config.properties"]


def test_a_server_whose_folder_was_removed_is_named(running: Server) -> None:
    shutil.rmtree(folder := running.endpoint.folder)
    with pytest.raises(CommandError, match=rf"pid {running.pid}.*densenet stop --run-dir {folder}"):
        Server.find(folder)


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Server]:
    """Start a server with a small program in the place of Java."""
    program = tmp_path / "bin" / "java"

    def start(text: str, mode: int = 0o755) -> Server:
        program.parent.mkdir()
        program.write_text(f"#!{sys.executable}\n{text}\n")
        program.chmod(mode)
        return torchserve.start(tmp_path / "run", tmp_path, [], paths.SERVER_CONFIG, free_port_range())

    monkeypatch.setattr(java, "find_java", lambda: program)
    monkeypatch.setenv("PYTHONPATH", "/repository")
    return start


def test_a_start(start: Callable[[str], Server], tmp_path: Path) -> None:
    (tmp_path / "run" / "unpacked" / "left by an earlier one").mkdir(parents=True)
    started = start(WAITS)
    run_dir = tmp_path / "run"
    try:
        said = wait_for_text(started.logs / "console.log")
        assert Server.find(run_dir) == started
        assert f"-Djava.io.tmpdir={run_dir / 'unpacked'} " in said
        assert f"-f {run_dir}/config.properties -s {tmp_path} -ncs None" in said
        written = properties.read(started.settings)
        assert started.endpoint.inference == written["inference_address"]
        assert written["default_workers_per_model"] == str(default_workers())
        assert written["metrics_config"] == str(paths.METRICS_CONFIG)
        assert list((run_dir / "unpacked").iterdir()) == []
    finally:
        started.stop()
    assert sorted(path.name for path in run_dir.iterdir()) == ["config.properties", "logs"]


def wait_for_text(path: Path) -> str:
    until(lambda: path.read_text().endswith("\n"))
    return path.read_text()


def test_a_java_that_ends_at_once_has_ended(start: Callable[[str], Server]) -> None:
    started = start(ENDS_AT_ONCE)
    started.process.wait()
    assert not processes.runs(started.process)
    started.kill()
    assert "Could not reserve enough space" in (started.logs / "console.log").read_text()


def test_a_java_that_cannot_be_started(start: Callable[[str, int], Server], tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=f"{tmp_path}/bin/java .*Permission denied"):
        start(WAITS, 0o644)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["config.properties", "logs"]
