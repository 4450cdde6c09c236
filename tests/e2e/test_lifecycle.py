"""Servers come and go: started, met again, stopped, refused, and started by hand."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import psutil
import pytest
import requests

from scripts import paths, server
from scripts.client import Client
from scripts.endpoint import KEY_FILE, Endpoint
from scripts.java import find_java
from scripts.options import STAND_IN
from scripts.readiness import is_ready
from tests.e2e.conftest import free_port_range
from tests.e2e.support import Inference, command, content_of, listening_addresses, rewrite
from tests.pictures import FITTING

PATIENCE_SECONDS = 60
# So small a log is cut at least five times by so many lines of some 100 bytes.
LOG_KILOBYTES = 4
REFUSALS = 250
# Put at the end of a module of the archive, it shows in the answer to an empty body whose code ran.
MARK = '\nERROR_TYPES[HTTPStatus.BAD_REQUEST] = "FromTheArchiveException"\n'


def eventually(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


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
    found: server.Server
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
    rewrite(stand_in_archive, store / stand_in_archive.name, {"handler/responses.py": lambda text: text + MARK})
    arguments = ("--port", str(port), "--model-store", store, "--run-dir", run_dir, "--json-logs")
    environment = {"PYTHONPATH": str(paths.ROOT)}
    try:
        started = command("serve", *arguments, environment=environment)
        found = server.Server.find(run_dir)
        assert found, started.stderr
        java = psutil.Process(found.pid)
        family = [java, *java.children(recursive=True)]
        refused = Inference(found.endpoint)(b"")
        met_again = command("serve", *arguments, environment=environment)
        again = server.Server.find(run_dir)
        pid_afterwards = again.pid if again else 0
    finally:
        stopped = command("stop", "--run-dir", run_dir)
    stopped_again = command("stop", "--run-dir", run_dir)
    return Life(run_dir, port, started, found, refused, met_again, pid_afterwards, family, stopped, stopped_again)


def test_serve_prints_an_answer_and_where_everything_is(life: Life) -> None:
    assert life.started.returncode == 0, life.started.stderr
    printed = dict(line.split(maxsplit=1) for line in life.started.stdout.splitlines())
    assert any(name in printed["answer"] for name in FITTING["chelsea"])
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
    assert len(life.family) >= 2  # Java and a worker
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
    arguments = ("--port", str(free_port_range()), "--model-store", tmp_path / "store", "--run-dir", run_dir)

    def serve() -> CompletedProcess[str]:
        done = command("serve", *arguments, environment={"TMPDIR": str(temporary)})
        assert done.returncode == 1
        assert done.stdout == ""
        assert server.Server.find(run_dir) is None
        assert not (run_dir / KEY_FILE).exists()
        assert not processes_with(run_dir)
        assert not processes_with(temporary)
        assert not list(temporary.glob("densenet-*"))
        return done

    (tmp_path / "store").mkdir()
    yield serve
    if left := server.Server.find(run_dir):
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


def test_torchserve_started_by_hand_serves_the_same_archive(
    stand_in_archive: Path, photos: dict[str, bytes], tmp_path: Path
) -> None:
    """The way TorchServe's own documentation starts it, with the config.properties of this repository."""
    port = free_port_range()
    config = (paths.ROOT / "config.properties").read_text()
    for i, usual in enumerate(("8080", "8081", "8082", "7070", "7071")):
        assert usual in config
        config = config.replace(usual, str(port + i))
    (tmp_path / "config.properties").write_text(config)
    (tmp_path / "scripts").mkdir()
    shutil.copy(paths.METRICS_CONFIG, tmp_path / "scripts")
    small = paths.LOG_CONFIG.read_text().replace("50 MB", f"{LOG_KILOBYTES} KB")
    (tmp_path / "scripts" / "log4j2.xml").write_text(small)
    (tmp_path / "model_store").mkdir()
    shutil.copy(stand_in_archive, tmp_path / "model_store")
    temporary = server.make_temporary()
    environment = os.environ | {
        "JAVA_HOME": str(find_java().parent.parent),
        "TMPDIR": str(temporary),
        "TEMP": str(temporary),
        "LOG_LOCATION": str(tmp_path / "logs"),
        "METRICS_LOCATION": str(tmp_path / "logs"),
    }
    environment.pop("PYTHONPATH", None)
    torchserve = str(Path(sys.executable).with_name("torchserve"))
    start = [torchserve, "--start", "--ncs", "--ts-config", "config.properties"]
    addresses = {kind: f"http://127.0.0.1:{port + i}" for i, kind in enumerate(("inference", "management", "metrics"))}
    endpoint = Endpoint(**addresses, folder=tmp_path)

    with (tmp_path / "console.log").open("w") as console:
        subprocess.run(start, cwd=tmp_path, env=environment, stdout=console, stderr=console, check=True)
    java = psutil.Process(int((temporary / ".model_server.pid").read_text()))
    family: list[psutil.Process] = []
    try:
        assert eventually(lambda: is_ready(Client(endpoint), STAND_IN, "1.0"))
        family = [java, *java.children(recursive=True)]
        listening = listening_addresses(java.pid)
        answer = content_of(Inference(endpoint)(photos["chelsea"]))
        said = (tmp_path / "console.log").read_text()
        assert {Inference(endpoint)(b"").status_code for _ in range(REFUSALS)} == {400}
    finally:
        subprocess.run([torchserve, "--stop"], env=environment, capture_output=True, timeout=30)
        survivors = psutil.wait_procs([java, *family], timeout=20)[1]
        for survivor in survivors:
            survivor.kill()
        shutil.rmtree(temporary)

    assert answer["class_name"] in FITTING["chelsea"]
    assert all(address.is_loopback for address in listening), listening
    assert not survivors
    assert_bounded(tmp_path / "logs")
    assert (tmp_path / "console.log").read_text() == said


def assert_bounded(logs: Path) -> None:
    """The logs of many refusals were cut: a current file and three old ones are left of each, and fewer lines."""
    for name in ("access_log", "model_log"):
        *old, current = sorted(logs.glob(f"{name}*"))
        assert [path.name for path in old] == [f"{name}.{i}.log.gz" for i in (1, 2, 3)]
        assert current.stat().st_size <= (LOG_KILOBYTES + 1) * 1024
        kept = sum(gzip.decompress(path.read_bytes()).count(b"\n") for path in old)
        assert kept + current.read_bytes().count(b"\n") < REFUSALS
