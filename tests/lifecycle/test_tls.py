"""`densenet serve --tls-cert --tls-key`: every address speaks TLS, and the commands trust that certificate alone."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import NamedTuple

import pytest
import requests

from densenet_serving import paths
from densenet_serving.client.endpoint import Endpoint
from densenet_serving.client.http import Client
from densenet_serving.errors import CommandError
from densenet_serving.options import STAND_IN
from densenet_serving.server.torchserve import Server
from tests import certificates
from tests.certificates import Pair
from tests.e2e.support import command_here, one_worker
from tests.pictures import SAMPLE_NAME
from tests.ports import free_port_range

GRPC_OFFSETS = (3, 4)  # behind the first of the five ports


class Secured(NamedTuple):
    started: CompletedProcess[str]
    pair: Pair
    endpoint: Endpoint
    port: int


@pytest.fixture(scope="module")
def secured(stand_in_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder, port = tmp_path_factory.mktemp("tls"), free_port_range()
    pair = certificates.make(folder)
    (folder / "store").mkdir()
    shutil.copy(stand_in_archive, folder / "store")
    run_dir = folder / "run"
    where: list[str | Path] = ["--port", str(port), "--config", one_worker(folder)]
    where += ["--model-store", folder / "store", "--run-dir", run_dir]
    try:
        started = command_here("serve", *where, "--tls-cert", pair.certificate, "--tls-key", pair.key)
        found = Server.find(run_dir)
        assert found, started.stderr
        yield Secured(started, pair, found.endpoint, port)
    finally:
        command_here("stop", "--run-dir", run_dir)


def test_serve_classifies_its_photo_over_tls(secured: Secured) -> None:
    printed = dict(line.split(maxsplit=1) for line in secured.started.stdout.splitlines())
    assert f"{paths.SAMPLE_PHOTO.name} is {SAMPLE_NAME} (" in printed["answer"]
    assert printed["predictions"] == f"https://127.0.0.1:{secured.port}/predictions/{STAND_IN}"
    assert " token --header --run-dir " in printed["try"]
    assert " | curl --cacert " in printed["try"]


def test_the_commands_work_as_ever(secured: Secured) -> None:
    done = command_here("classify", paths.SAMPLE_PHOTO, "--run-dir", secured.endpoint.folder)
    assert json.loads(done.stdout)["class_name"] == SAMPLE_NAME, done.stderr
    assert STAND_IN in command_here("models", "list", "--run-dir", secured.endpoint.folder).stdout


def test_any_client_can_verify_it(secured: Secured) -> None:
    headers = {"Authorization": f"Bearer {secured.endpoint.token('inference')}"}
    url = f"{secured.endpoint.inference}/predictions/{STAND_IN}"
    answer = requests.put(
        url, paths.SAMPLE_PHOTO.read_bytes(), headers=headers, verify=str(secured.pair.certificate), timeout=60
    )
    assert answer.json()["class_name"] == SAMPLE_NAME
    metrics = requests.get(f"{secured.endpoint.metrics}/metrics", verify=str(secured.pair.certificate))
    assert "ts_inference_requests_total" in metrics.text


@pytest.mark.parametrize(
    ("api", "path"), [("inference", f"/predictions/{STAND_IN}"), ("management", "/models"), ("metrics", "/metrics")]
)
def test_no_address_answers_without_tls(secured: Secured, api: str, path: str) -> None:
    """TorchServe reads a plain request far enough to refuse it, with a valid token too."""
    token = secured.endpoint.token("management" if api == "management" else "inference")
    url = getattr(secured.endpoint, api).replace("https:", "http:") + path
    answer = requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=10)
    assert answer.status_code == 403
    assert "only accepts HTTPS" in answer.text


def test_grpc_shows_the_same_certificate(secured: Secured) -> None:
    expected = ssl.PEM_cert_to_DER_cert(secured.pair.certificate.read_text())
    context = ssl.create_default_context(cafile=str(secured.pair.certificate))
    context.set_alpn_protocols(["h2"])
    for offset in GRPC_OFFSETS:
        with (
            socket.create_connection(("127.0.0.1", secured.port + offset), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
        ):
            assert connection.getpeercert(binary_form=True) == expected
            assert connection.selected_alpn_protocol() == "h2"


def test_old_versions_of_tls_are_refused(secured: Secured) -> None:
    context = ssl.create_default_context(cafile=str(secured.pair.certificate))
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", secured.port), timeout=10) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_another_certificate_is_not_trusted(secured: Secured, tmp_path: Path) -> None:
    other = certificates.make(tmp_path).certificate
    values = secured.endpoint.to_dict() | {"folder": secured.endpoint.folder, "certificate": str(other)}
    with pytest.raises(CommandError, match="does not show the certificate"):
        Client(Endpoint(**values)).models()  # type: ignore[arg-type]
