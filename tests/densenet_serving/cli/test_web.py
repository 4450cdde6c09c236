from __future__ import annotations

import os
from pathlib import Path

import pytest

from densenet_serving.cli import web as command
from densenet_serving.client.endpoint import Endpoint
from densenet_serving.client.http import Client
from densenet_serving.errors import CommandError, ServingError
from densenet_serving.gateway.keys import ApiKeys
from densenet_serving.server.torchserve import Server
from tests.local_server import LocalServer, as_json


@pytest.mark.parametrize(
    ("host", "warned"),
    [("127.0.0.1", False), ("::1", False), ("localhost", False), ("0.0.0.0", True), ("example.org", True)],  # noqa: S104
)
def test_a_gateway_open_to_everybody_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], host: str, warned: bool
) -> None:
    command.warn_if_open(host, ApiKeys(tmp_path))
    assert ("Everybody who reaches" in capsys.readouterr().err) is warned

    ApiKeys(tmp_path).add("phone")
    command.warn_if_open(host, ApiKeys(tmp_path))
    assert capsys.readouterr().err == ""


def test_the_model_that_answers(endpoint: Endpoint, local: LocalServer) -> None:
    local.on("GET /models", as_json({"models": [{"modelName": "flowers", "modelUrl": "flowers.mar"}]}))
    client = Client(endpoint)
    assert [command.chosen_model(client, model) for model in ("", "flowers")] == ["flowers"] * 2
    with pytest.raises(CommandError, match="The server has no model birds: densenet models list"):
        command.chosen_model(client, "birds")


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None if name in ("uvicorn", "limits") else object())
    with pytest.raises(CommandError, match="The gateway needs limits, uvicorn: run make web"):
        command.check_installed()


def test_a_host_that_is_none_starts_nothing(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match=r"https://photos\.example is no host: write it as"):
        command.web(allowed_host=["https://photos.example"], run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_wrong_rate_starts_nothing(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="--rate often is no rate"):
        command.web(rate="often", run_dir=tmp_path / "run")
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
    with pytest.raises(CommandError, match=f"A server runs already .pid {running.pid}.: end it"):
        command.web(foreground=True, run_dir=running.endpoint.folder)


def test_a_taken_port_starts_no_unit(tmp_path: Path, taken: int) -> None:
    with pytest.raises(CommandError, match=f"Port {taken} is taken by .* .pid {os.getpid()}."):
        command.web(foreground=True, port=taken, run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_torchserve_gets_its_own_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def start(*arguments: object) -> None:
        asked.extend(arguments)
        raise CommandError("Enough.")

    monkeypatch.setattr(command, "start_or_find", start)
    with pytest.raises(CommandError, match="Enough"):
        command.web(torchserve_port=9080, run_dir=tmp_path)
    assert 9080 in asked
