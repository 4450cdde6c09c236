"""Servers come and go: started, met again, stopped, and refused."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import psutil
import pytest
import requests

from densenet_serving import paths
from densenet_serving.client.endpoint import KEY_FILE
from densenet_serving.options import STAND_IN
from densenet_serving.server import torchserve
from handler.cores import default_workers
from tests.e2e.support import Inference, command, command_here, one_worker, rewrite
from tests.pictures import SAMPLE_NAME
from tests.ports import free_port_range

# Put at the end of a module of the archive, it shows in the answer to an empty body whose code ran.
MARK = '\nERROR_TYPES[HTTPStatus.BAD_REQUEST] = "FromTheArchiveException"\n'


def processes_with(text: str | Path) -> list[str]:
    """Return the command lines on this machine that name a folder of the test's own."""
    lines = []
    for process in psutil.process_iter():
        try:
            lines.append(" ".join(process.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return [line for line in lines if str(text) in line]


@dataclass(frozen=True)
class Life:
    """All that was seen of one server, from its start to its end."""

    run_dir: Path
    port: int
    started: CompletedProcess[str]
    found: torchserve.Server
    refused: requests.Response
    met_again: CompletedProcess[str]
    pid_afterwards: int
    family: list[psutil.Process]
    stopped: CompletedProcess[str]
    stopped_again: CompletedProcess[str]


@pytest.fixture(scope="module")
def life(stand_in_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Life:
    """`serve`, `serve`, `stop`, `stop`, with the repository on the caller's PYTHONPATH."""
    run_dir, port = tmp_path_factory.mktemp("life") / "run", free_port_range()
    store = tmp_path_factory.mktemp("life-store")
    rewrite(stand_in_archive, store / stand_in_archive.name, {"handler/answers.py": lambda text: text + MARK})
    arguments = ("--port", str(port), "--model-store", store, "--run-dir", run_dir, "--json-logs")
    try:
        started = command("serve", *arguments, environment={"PYTHONPATH": str(paths.ROOT)})
        found = torchserve.Server.find(run_dir)
        assert found, started.stderr
        java = psutil.Process(found.pid)
        family = [java, *java.children(recursive=True)]
        refused = Inference(found.endpoint)(b"")
        met_again = command_here("serve", *arguments)
        again = torchserve.Server.find(run_dir)
        pid_afterwards = again.pid if again else 0
    finally:
        stopped = command("stop", "--run-dir", run_dir)
    stopped_again = command_here("stop", "--run-dir", run_dir)
    return Life(run_dir, port, started, found, refused, met_again, pid_afterwards, family, stopped, stopped_again)


def test_serve_prints_an_answer_and_where_everything_is(life: Life) -> None:
    assert life.started.returncode == 0, life.started.stderr
    printed = dict(line.split(maxsplit=1) for line in life.started.stdout.splitlines())
    assert f"{paths.SAMPLE_PHOTO.name} is {SAMPLE_NAME} (" in printed["answer"]
    assert printed["predictions"] == f"http://127.0.0.1:{life.port}/predictions/{STAND_IN}"
    assert printed["management"] == f"http://127.0.0.1:{life.port + 1}/models"
    assert printed["metrics"] == f"http://127.0.0.1:{life.port + 2}/metrics"
    assert printed["stop"].endswith(f"densenet stop --run-dir {life.run_dir}")
    assert "Traceback" not in life.started.stderr


def test_the_workers_run_the_archives_code_wherever_the_caller_stands(life: Life) -> None:
    assert life.refused.json()["type"] == "FromTheArchiveException"


def test_a_second_serve_meets_the_first(life: Life) -> None:
    assert life.met_again.returncode == 0, life.met_again.stderr
    assert f"Already running (pid {life.found.pid})." in life.met_again.stderr
    assert life.met_again.stdout == life.started.stdout
    assert life.pid_afterwards == life.found.pid


def test_json_logs_name_the_request_that_was_refused(life: Life) -> None:
    """Every line of every log is an object, also where TorchServe logs several lines at once."""
    logs = {path.name: path.read_text() for path in (life.run_dir / "logs").glob("*_log.log")}
    lines = {name: [json.loads(line) for line in text.splitlines()] for name, text in logs.items()}
    assert set(lines) == {"access_log.log", "model_log.log", "ts_log.log"}
    for line in itertools.chain.from_iterable(lines.values()):
        assert list(line) == ["time", "level", "logger", "thread", "request_id", "message", "exception"]
    assert any("\n" in line["message"] for line in lines["ts_log.log"])
    refusals = [line for line in lines["model_log.log"] if line["request_id"]]
    request_id = life.refused.headers["x-request-id"]
    assert [(line["request_id"], line["message"]) for line in refusals] == [
        (request_id, f"request_id={request_id} status=400")
    ]


def test_stop_leaves_nothing(life: Life) -> None:
    assert life.stopped.returncode == 0
    assert f"Stopped (pid {life.found.pid})." in life.stopped.stderr
    assert len(life.family) >= 1 + default_workers()  # Java and its workers
    assert not [process for process in life.family if process.is_running()]
    assert not life.found.temporary.exists()
    assert sorted(path.name for path in life.run_dir.iterdir()) == ["config.properties", "logs"]


def test_stop_without_a_server_is_harmless(life: Life) -> None:
    assert life.stopped_again.returncode == 0
    assert life.stopped_again.stderr == "No server is running.\n"


@pytest.fixture
def serve_broken(tmp_path: Path) -> Iterator[Callable[[], CompletedProcess[str]]]:
    """Run `serve` on tmp_path/store, which must fail, and prove that it left nothing."""
    run_dir, temporary = tmp_path / "run", Path("/tmp") / f"densenet-test-{os.getpid()}"  # noqa: S108 - a short path
    temporary.mkdir()
    arguments: list[str | Path] = ["--port", str(free_port_range()), "--config", one_worker(tmp_path)]
    arguments += ["--model-store", tmp_path / "store", "--run-dir", run_dir]

    def serve() -> CompletedProcess[str]:
        done = command("serve", *arguments, environment={"TMPDIR": str(temporary)})
        assert done.returncode == 1
        assert done.stdout == ""
        assert torchserve.Server.find(run_dir) is None
        assert not (run_dir / KEY_FILE).exists()
        assert not processes_with(run_dir)
        assert not processes_with(temporary)
        assert not list(temporary.glob("densenet-*"))
        return done

    (tmp_path / "store").mkdir()
    yield serve
    if left := torchserve.Server.find(run_dir):
        left.stop()
    shutil.rmtree(temporary)


def test_a_worker_that_cannot_start_says_why(
    serve_broken: Callable[[], CompletedProcess[str]], stand_in_archive: Path, tmp_path: Path
) -> None:
    changes = {"model-config.yaml": lambda text: text.replace("handler:\n", "handler:\n  colour: blue\n")}
    rewrite(stand_in_archive, tmp_path / "store" / "broken.mar", changes)

    message = serve_broken().stderr

    assert "Error: A worker cannot start:" in message
    assert "Traceback" in message
    assert "ArchiveError: Remove colour from the handler section of model-config.yaml" in message
    assert "MODEL_LOG" not in message


def test_a_server_that_other_machines_could_give_models_does_not_start(stand_in_archive: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.properties"
    config.write_text("management_address=http://0.0.0.0:8081\nenable_model_api=true\n")
    run_dir = tmp_path / "run"

    done = command_here("serve", "--config", config, "--model-store", stand_in_archive.parent, "--run-dir", run_dir)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "Error: management_address=http://0.0.0.0:8081 lets other machines register models, which can run any code "
        "here: serve with --fixed-models, or on 127.0.0.1.\n"
    )
    assert not run_dir.exists()
