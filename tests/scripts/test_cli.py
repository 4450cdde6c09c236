from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from typer.testing import CliRunner

from scripts import paths
from scripts.cli import app, main

COMMANDS = ["serve", "web", "stop", "classify", "explain", "archive", "labels", "token", "models", "keys"]


def test_help_lists_every_command() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    listed = [line.split()[1] for line in result.stdout.splitlines() if line.startswith("│ ") and len(line.split()) > 2]
    assert [command for command in COMMANDS if command not in listed] == []


def test_the_console_script(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["densenet", "--help"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 0
    assert "Usage: " in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert "Usage: " in result.stdout


@pytest.mark.parametrize("sub", ["list", "describe", "register", "scale", "default", "unregister"])
def test_every_models_command_explains_itself(sub: str) -> None:
    assert "Usage: " in CliRunner().invoke(app, ["models", sub, "--help"]).stdout


@pytest.mark.parametrize(
    "arguments", [["unknown"], ["archive", "--unknown"], ["serve", "--port", "70000"], ["classify"]]
)
def test_a_wrong_use_is_status_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 2


def test_every_command_is_a_module_of_its_own() -> None:
    def ask(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", f"scripts.{command}", "--help"], cwd=paths.ROOT, capture_output=True, text=True
        )

    with ThreadPoolExecutor(2) as pool:
        for done in pool.map(ask, [*COMMANDS, "cli"]):
            assert done.returncode == 0, done.stderr
            assert "Usage: " in done.stdout


def test_help_does_not_wait_for_torch() -> None:
    """Importing torch takes seconds, which only building an archive has to wait for; fastapi is an extra."""
    program = "import sys, scripts.cli; sys.exit(not {'torch', 'fastapi'}.isdisjoint(sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], cwd=paths.ROOT).returncode == 0
