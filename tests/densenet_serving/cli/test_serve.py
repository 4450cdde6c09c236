"""The options that serve and web share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from densenet_serving import paths, properties
from densenet_serving.cli import serve, web
from densenet_serving.cli.main import app
from densenet_serving.errors import CommandError
from densenet_serving.options import ServeOptions


@pytest.mark.parametrize(("command", "port"), [("serve", "--port"), ("web", "--torchserve-port")])
def test_serve_and_web_start_torchserve_alike(
    command: str, port: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def start(*arguments: Any) -> None:
        asked.extend(arguments)
        raise CommandError("Enough.")

    for module in (serve, web):
        monkeypatch.setattr(module, "start_or_find", start)
    given = {"--run-dir": tmp_path, "--model-store": "s", "--config": "c", "--tls-cert": "a", "--tls-key": "b"}
    words = [str(word) for pair in given.items() for word in pair]
    words += [port, "9080", "--timeout", "7", "--json-logs", "--fixed-models", "--foreground"]
    with pytest.raises(CommandError, match="Enough"):
        CliRunner().invoke(app, [command, *words], catch_exceptions=False)
    options = ServeOptions(Path("s"), tmp_path, Path("c"), True, 7, True, Path("a"), Path("b"), True)
    assert asked == [options, 9080]


def test_options_become_settings_of_torchserve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert ServeOptions().changes() == {}
    assert ServeOptions(fixed_models=True, tls_cert=Path("a.pem"), tls_key=Path("/a.key")).changes() == {
        "enable_model_api": "false",
        "certificate_file": str(tmp_path / "a.pem"),
        "private_key_file": "/a.key",
    }


def test_json_logs_are_one_more_argument_of_the_jvm(tmp_path: Path) -> None:
    given = properties.read(paths.SERVER_CONFIG)["vmargs"]
    assert ServeOptions(json_logs=True).changes() == {"vmargs": f"{given} -Dlog.format=json"}
    (empty := tmp_path / "empty").touch()
    assert ServeOptions(config=empty, json_logs=True).changes() == {"vmargs": "-Dlog.format=json"}
    assert "${sys:log.format:-text}" in paths.LOG_CONFIG.read_text()
