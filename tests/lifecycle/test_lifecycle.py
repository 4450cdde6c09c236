"""One server's life: started with TLS and JSON logs, found again, fronted, started anew behind its gateway, stopped."""

from __future__ import annotations

import itertools
import json
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import CompletedProcess

import psutil
import pytest
import requests

from densenet_serving import paths
from densenet_serving.build.archives import file_name
from densenet_serving.client.http import Client
from densenet_serving.errors import CommandError
from densenet_serving.options import STAND_IN
from densenet_serving.server import processes
from densenet_serving.server.gateway import Gateway
from densenet_serving.server.torchserve import Server
from tests import certificates
from tests.certificates import Pair
from tests.e2e.support import Inference, as_version, command, command_here, one_worker, rewrite
from tests.pictures import SAMPLE_NAME
from tests.ports import free_port_range

GRPC_OFFSETS = (3, 4)  # behind the first of the five ports
# Put at the end of a module of the archive, it shows in the answer to an empty body whose code ran.
MARK = '\nERROR_TYPES[HTTPStatus.BAD_REQUEST] = "FromTheArchiveException"\n'


@dataclass(frozen=True)
class Life:
    """A running server, and what the commands that start it printed the first and the second time."""

    folder: Path
    port: int
    pair: Pair
    options: list[str | Path]
    started: CompletedProcess[str]
    met_again: CompletedProcess[str]
    server: Server

    @property
    def run_dir(self) -> Path:
        return self.folder / "run"

    @property
    def trusted(self) -> str:
        return str(self.pair.certificate)


@pytest.fixture(scope="module")
def life(stand_in_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    """`serve` twice, with the repository on the caller's PYTHONPATH. It is not left behind."""
    folder, port = tmp_path_factory.mktemp("life"), free_port_range()
    (store := folder / "store").mkdir()
    rewrite(stand_in_archive, store / stand_in_archive.name, {"handler/answers.py": lambda text: text + MARK})
    pair = certificates.make(folder)
    options: list[str | Path] = ["--model-store", store, "--run-dir", folder / "run", "--config", one_worker(folder)]
    options += ["--tls-cert", pair.certificate, "--tls-key", pair.key, "--json-logs"]
    try:
        started = command("serve", "--port", str(port), *options, environment={"PYTHONPATH": str(paths.ROOT)})
        assert started.returncode == 0, started.stderr
        met_again = command_here("serve", "--port", str(port), *options)
        found = Server.find(folder / "run")
        assert found
        yield Life(folder, port, pair, options, started, met_again, found)
    finally:
        command_here("stop", "--run-dir", folder / "run", "--timeout", "0")


def test_serve_prints_an_answer_and_where_everything_is(life: Life) -> None:
    printed = dict(line.split(maxsplit=1) for line in life.started.stdout.splitlines())
    assert f"{paths.SAMPLE_PHOTO.name} is {SAMPLE_NAME} (" in printed["answer"]
    assert printed["predictions"] == f"https://127.0.0.1:{life.port}/predictions/{STAND_IN}"
    assert printed["management"] == f"https://127.0.0.1:{life.port + 1}/models"
    assert printed["metrics"] == f"https://127.0.0.1:{life.port + 2}/metrics"
    assert f"--cacert {life.trusted}" in printed["try"]
    assert printed["stop"].endswith(f"densenet stop --run-dir {life.run_dir}")
    assert "Traceback" not in life.started.stderr


def test_a_second_serve_meets_the_first(life: Life) -> None:
    assert life.met_again.returncode == 0, life.met_again.stderr
    assert f"(pid {life.server.pid})" in life.met_again.stderr
    assert life.met_again.stdout == life.started.stdout


def test_the_workers_run_the_archives_code_whatever_the_caller_has(life: Life) -> None:
    """The refused request is named in the logs, of which every line is an object."""
    refused = Inference(life.server.endpoint)(b"", verify=life.trusted)
    assert refused.json()["type"] == "FromTheArchiveException"

    logs = {path.name: path.read_text() for path in life.server.logs.glob("*_log.log")}
    lines = {name: [json.loads(line) for line in text.splitlines()] for name, text in logs.items()}
    assert set(lines) == {"access_log.log", "model_log.log", "ts_log.log"}
    for line in itertools.chain.from_iterable(lines.values()):
        assert list(line) == ["time", "level", "logger", "thread", "request_id", "message", "exception"]
    assert any("\n" in line["message"] for line in lines["ts_log.log"])
    request_id = refused.headers["x-request-id"]
    refusals = [(line["request_id"], line["message"]) for line in lines["model_log.log"] if line["request_id"]]
    assert refusals == [(request_id, f"request_id={request_id} status=400")]


def test_commands_and_any_client_can_verify_it(life: Life) -> None:
    done = command_here("classify", paths.SAMPLE_PHOTO, "--run-dir", life.run_dir)
    assert json.loads(done.stdout)["class_name"] == SAMPLE_NAME, done.stderr
    answer = Inference(life.server.endpoint)(paths.SAMPLE_PHOTO.read_bytes(), verify=life.trusted)
    assert answer.json()["class_name"] == SAMPLE_NAME
    metrics = requests.get(f"{life.server.endpoint.metrics}/metrics", verify=life.trusted)
    assert "ts_inference_requests_total" in metrics.text


@pytest.mark.parametrize(
    ("api", "path"), [("inference", f"/predictions/{STAND_IN}"), ("management", "/models"), ("metrics", "/metrics")]
)
def test_no_address_answers_without_tls(life: Life, api: str, path: str) -> None:
    """TorchServe reads a plain request far enough to refuse it, with a valid token too."""
    endpoint = life.server.endpoint
    token = endpoint.token("management" if api == "management" else "inference")
    url = getattr(endpoint, api).replace("https:", "http:") + path
    answer = requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=10)
    assert answer.status_code == 403
    assert "only accepts HTTPS" in answer.text


def test_grpc_shows_the_same_certificate(life: Life) -> None:
    expected = ssl.PEM_cert_to_DER_cert(life.pair.certificate.read_text())
    context = ssl.create_default_context(cafile=life.trusted)
    context.set_alpn_protocols(["h2"])
    for offset in GRPC_OFFSETS:
        with (
            socket.create_connection(("127.0.0.1", life.port + offset), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
        ):
            assert connection.getpeercert(binary_form=True) == expected
            assert connection.selected_alpn_protocol() == "h2"


def test_old_versions_of_tls_are_refused(life: Life) -> None:
    context = ssl.create_default_context(cafile=life.trusted)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", life.port), timeout=10) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_another_certificate_is_not_trusted(life: Life, tmp_path: Path) -> None:
    other = replace(life.server.endpoint, certificate=str(certificates.make(tmp_path).certificate))
    with pytest.raises(CommandError, match="certificate"):
        Client(other).models()


def test_a_gateway_outlives_torchserve_and_then_answers_with_the_newest_version(life: Life, photo: bytes) -> None:
    """TorchServe by itself makes the first version it loads the default."""
    web = ["web", *life.options, "--port", str(free_port_range(1)), "--torchserve-port", str(life.port)]
    done = command_here(*map(str, web))
    assert done.returncode == 0, done.stderr
    gateway = Gateway.find(life.run_dir)
    assert gateway
    assert classify(gateway, photo).json()["class_name"] == SAMPLE_NAME

    life.server.stop()
    stopped = classify(gateway, photo)
    assert (stopped.status_code, "densenet web" in stopped.text) == (503, True)

    store = life.folder / "store"
    rewrite(store / f"{STAND_IN}.mar", store / file_name(STAND_IN, "2.0"), as_version("2.0"))
    again = command_here(*map(str, web))
    assert again.returncode == 0, again.stderr
    assert f"(pid {gateway.pid})" in again.stderr
    assert classify(gateway, photo).json()["class_name"] == f"second {SAMPLE_NAME}"


def classify(gateway: Gateway, photo: bytes) -> requests.Response:
    return requests.post(f"{gateway.url}/predict", files={"file": photo}, timeout=60)


def test_stop_leaves_nothing(life: Life) -> None:
    """It is called from another folder, and then again, where nothing runs any more."""
    parts = [part for part in (Server.find(life.run_dir), Gateway.find(life.run_dir)) if part]
    family = [one for part in parts for one in (part.process, *part.process.children(recursive=True))]
    assert len(family) >= 2 + 1  # Java and a worker, and the gateway if it was started
    stopped, again = (command("stop", "--run-dir", life.run_dir) for _ in range(2))
    assert (stopped.returncode, again.returncode) == (0, 0)
    assert all(f"(pid {part.pid})" in stopped.stderr for part in parts)
    assert again.stderr == "No server is running.\n"
    assert not [process for process in family if processes.runs(process)]
    left = {path.name for path in life.run_dir.iterdir()}
    assert left - {"gateway.log", "gateway-console.log"} == {"config.properties", "logs"}
    assert not processes_of(life.run_dir)


def processes_of(folder: Path) -> list[psutil.Process]:
    return [process for part in processes.VARIABLES for process in processes.started_for(part, folder)]
