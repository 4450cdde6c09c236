from __future__ import annotations

import json
import shutil
from pathlib import Path

import psutil
import pytest
import typer

from densenet_serving.cli.stop import stop
from densenet_serving.server import drain, processes
from densenet_serving.server.torchserve import Server
from tests.densenet_serving.conftest import start_part


def test_where_no_server_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that was never a server's keeps what it holds, as the tokens of torchserve --start."""
    (tmp_path / "unpacked").mkdir()
    for name in ("key_file.json", "config.properties"):
        (tmp_path / name).touch()
    stop(tmp_path)
    assert capsys.readouterr().err == "No server is running.\n"
    assert len(list(tmp_path.iterdir())) == 3


def test_a_server_that_ended_by_itself_has_its_rest_removed(
    running: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    processes.kill(running.process)
    stop(running.endpoint.folder)
    assert [path.name for path in running.endpoint.folder.iterdir()] == ["config.properties"]
    assert capsys.readouterr().err == "No server is running.\n"


@pytest.mark.parametrize(("queued", "status"), [(None, 0), (3, 1)])
def test_the_gateway_and_the_server_are_named(
    running: Server,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    queued: int | None,
    status: int,
) -> None:
    folder = running.endpoint.folder
    gateway = start_part("gateway", folder, "", json.dumps({"host": "127.0.0.1", "port": 1}))
    monkeypatch.setattr(drain, "drain", lambda *_: queued)
    ended = 0
    try:
        stop(folder, timeout=5)
    except typer.Exit as error:
        ended = error.exit_code
    assert ended == status
    said = capsys.readouterr().err
    assert [f"(pid {process.pid})" in said for process in (gateway, running)] == [True, True]
    assert [processes.runs(process) for process in (gateway, running.process)] == [False, False]


@pytest.mark.parametrize("there", [True, False])
def test_a_server_whose_files_are_gone_is_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], there: bool
) -> None:
    (run_dir := tmp_path / "run").mkdir()
    foreign = start_part("TorchServe", tmp_path)
    lost: list[psutil.Process] = [start_part("TorchServe", run_dir)]
    if not there:
        shutil.rmtree(run_dir)
    stop(run_dir)
    assert [processes.runs(process) for process in (*lost, foreign)] == [False, True]
    assert all(str(process.pid) in capsys.readouterr().err for process in lost)
    assert not run_dir.exists()
    processes.kill(foreign)
