"""Attacks on a server whose models are fixed: what it refuses."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
import requests

from densenet_serving import paths
from densenet_serving.client.endpoint import Endpoint, Scope
from densenet_serving.client.http import Client
from densenet_serving.errors import ApiError
from densenet_serving.options import ServeOptions
from densenet_serving.server import torchserve
from densenet_serving.server.torchserve import Server
from tests.e2e.attacks import grpc_status, write_code
from tests.e2e.support import listening_addresses, wait_until_it_listens
from tests.ports import free_port_range

TOKEN_SECONDS = 3


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of fixed models, of which it has none, with tokens of 3 s, started in a hostile environment."""
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
    changes = ServeOptions(fixed_models=True).changes() | {"token_expiration_min": str(TOKEN_SECONDS / 60)}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        started = torchserve.start(
            folder / "run", folder / "store", [], paths.SERVER_CONFIG, free_port_range(), changes
        )
    try:
        wait_until_it_listens(started)
        yield started
    finally:
        started.kill()


def fresh(endpoint: Endpoint, scope: Scope) -> str:
    """Have a token made that does not expire before it is used."""
    endpoint.tokens().renew(scope)
    return endpoint.token(scope)


def ask(endpoint: Endpoint, scope: Scope, token: str, method: str = "GET", path: str = "") -> requests.Response:
    """Ask an API for what needs no model: the management API for its list, the inference API for one it has not."""
    base, default = (
        (endpoint.management, "/models") if scope == "management" else (endpoint.inference, "/predictions/nobody")
    )
    return requests.request(method, base + (path or default), headers={"Authorization": f"Bearer {token}"})


# Past the tokens: what there is to hear of a model that there is not, and an empty list.
OPENED = {"inference": 404, "management": 200}
ALLOWED = {"inference": grpc.StatusCode.INTERNAL, "management": grpc.StatusCode.OK}


@pytest.mark.parametrize("scope", ["inference", "management"])
@pytest.mark.parametrize("authorization", [None, "Bearer", "Bearer wrong", "Basic eDp5"])
def test_grpc_refuses_what_http_refuses(closed: Server, scope: Scope, authorization: str | None) -> None:
    assert grpc_status(closed.endpoint, scope, authorization) == grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize(("scope", "other"), [("inference", "management"), ("management", "inference")])
def test_grpc_has_a_token_an_api_too(closed: Server, scope: Scope, other: Scope) -> None:
    token = f"Bearer {fresh(closed.endpoint, scope)}"
    assert grpc_status(closed.endpoint, scope, token) == ALLOWED[scope]
    assert grpc_status(closed.endpoint, other, token) == grpc.StatusCode.PERMISSION_DENIED


def test_models_are_fixed_over_grpc_too(closed: Server, tmp_path: Path) -> None:
    folder = write_code(tmp_path / "evil", "evil")
    for url in ("any.mar", folder):
        token = f"Bearer {fresh(closed.endpoint, 'management')}"
        assert grpc_status(closed.endpoint, "management", token, url) == grpc.StatusCode.PERMISSION_DENIED
    assert Client(closed.endpoint, fresh(closed.endpoint, "management")).models() == {}
    assert not (folder / "ran").exists()


@pytest.fixture(scope="module")
def expired(closed: Server) -> dict[Scope, str]:
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
def test_an_expired_token_is_refused(closed: Server, expired: dict[Scope, str], scope: Scope) -> None:
    answer = ask(closed.endpoint, scope, expired[scope])
    assert (answer.status_code, answer.json()["type"]) == (400, "InvalidKeyException")
    assert ask(closed.endpoint, scope, fresh(closed.endpoint, scope)).status_code == OPENED[scope]


@pytest.mark.parametrize("scope", ["inference", "management"])
def test_an_expired_token_is_refused_over_grpc(closed: Server, expired: dict[Scope, str], scope: Scope) -> None:
    assert grpc_status(closed.endpoint, scope, f"Bearer {expired[scope]}") == grpc.StatusCode.PERMISSION_DENIED


def test_the_environment_is_no_configuration(closed: Server) -> None:
    for scope in ("inference", "management"):
        assert ask(closed.endpoint, scope, "none").status_code == 400
    addresses = listening_addresses(closed.pid)
    assert addresses
    assert all(address.is_loopback for address in addresses), addresses


def test_what_the_server_writes_is_its_owners_alone(closed: Server) -> None:
    written = [closed.endpoint.key_file, closed.endpoint.folder / "unpacked", *closed.logs.glob("*.log")]
    assert len(written) > 3
    assert "console.log" in [path.name for path in written]
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
def test_models_are_fixed_while_the_server_runs(closed: Server, tmp_path: Path, method: str, path: str) -> None:
    """Not by the archive's name, nor by a bare folder, whose code would run."""
    folder = write_code(tmp_path / "evil", "evil")
    for url in ("any.mar", folder):
        answer = ask(closed.endpoint, "management", fresh(closed.endpoint, "management"), method, path.format(url))
        assert (answer.status_code, answer.json()["type"]) == (405, "MethodNotAllowedException")
    with pytest.raises(ApiError, match="densenet serve"):  # what a person is told
        Client(closed.endpoint, fresh(closed.endpoint, "management")).register("any.mar")
    assert Client(closed.endpoint, fresh(closed.endpoint, "management")).models() == {}
    assert not (folder / "ran").exists()


def test_a_workflow_brings_no_code_either(closed: Server, tmp_path: Path) -> None:
    """TorchServe does not ask enable_model_api here, but takes workflows from the model store alone."""
    folder = write_code(tmp_path / "evil", "evil")
    for url in (folder, f"file://{folder}", "http://127.0.0.1:1/evil.war", "../evil.war"):
        token = fresh(closed.endpoint, "management")
        answer = ask(closed.endpoint, "management", token, "POST", f"/workflows?url={url}")
        assert answer.status_code in (400, 404), answer.text
    assert not (folder / "ran").exists()
