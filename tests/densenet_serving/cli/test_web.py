from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from densenet_serving.cli import web as command
from densenet_serving.client.endpoint import Endpoint
from densenet_serving.client.http import Client
from densenet_serving.errors import CommandError, ServingError
from densenet_serving.gateway.keys import ApiKeys
from densenet_serving.gateway.settings import GatewaySettings
from densenet_serving.server import gateway
from densenet_serving.server.gateway import Gateway
from densenet_serving.server.torchserve import Server
from tests.local_server import LocalServer, as_json


def test_the_model_that_answers(endpoint: Endpoint, local: LocalServer) -> None:
    local.on("GET /models", as_json({"models": [{"modelName": "flowers", "modelUrl": "flowers.mar"}]}))
    client = Client(endpoint)
    assert [command.chosen_model(client, model) for model in ("", "flowers")] == ["flowers"] * 2
    with pytest.raises(CommandError, match="birds"):
        command.chosen_model(client, "birds")


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None if name in ("uvicorn", "httptools") else object())
    with pytest.raises(CommandError, match="httptools, uvicorn"):
        command.check_installed()


@pytest.mark.parametrize(
    ("options", "named"),
    [({"allowed_host": ["https://photos.example"]}, r"https://photos\.example"), ({"rate": "often"}, "--rate often")],
)
def test_a_wrong_option_starts_nothing(tmp_path: Path, options: dict[str, Any], named: str) -> None:
    with pytest.raises(ServingError, match=named):
        command.web(**options, run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        (None, 0, "There is no file"),
        ("{", 0o600, "is damaged, and nobody gets in"),
        ("{}", 0o644, "Every user of this machine can open"),
    ],
)
def test_keys_that_cannot_be_used_start_nothing(tmp_path: Path, content: str | None, mode: int, said: str) -> None:
    file = tmp_path / "keys.json"
    if content is not None:
        file.write_text(content)
        file.chmod(mode)
    with pytest.raises(ServingError, match=said):
        command.web(keys=file, run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_foreground_is_for_a_unit_of_its_own(tmp_path: Path, running: Server) -> None:
    with pytest.raises(CommandError, match=f"pid {running.pid}"):
        command.web(foreground=True, run_dir=running.endpoint.folder)


def test_a_taken_port_starts_no_unit(tmp_path: Path, taken: int) -> None:
    with pytest.raises(CommandError, match=f"Port {taken} .*pid {os.getpid()}"):
        command.web(foreground=True, port=taken, run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "0.0.0.0", "example.org"])  # noqa: S104
@pytest.mark.parametrize("has_key", [True, False])
def test_a_gateway_open_to_everybody_is_warned_of(
    running: Server,
    local: LocalServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    host: str,
    has_key: bool,
) -> None:
    def start(_: GatewaySettings) -> Gateway:
        raise CommandError("Enough.")

    folder = running.endpoint.folder
    if has_key:
        ApiKeys(folder).add("phone")
    local.on("GET /models", as_json({"models": [{"modelName": "m", "modelUrl": "m.mar"}]}))
    local.on("GET /models/m", as_json([{"modelName": "m"}]))
    monkeypatch.setattr(gateway, "start", start)
    with pytest.raises(CommandError, match="Enough"):
        command.start_before(running, GatewaySettings(folder, "m", host=host))
    assert (host in capsys.readouterr().err) is (host in ("0.0.0.0", "example.org") and not has_key)  # noqa: S104
