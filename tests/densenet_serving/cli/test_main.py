from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from densenet_serving import paths
from densenet_serving.cli.main import EXAMPLES, app, main

COMMANDS = ["serve", "web", "stop", "classify", "explain", "archive", "labels", "token", "models", "keys"]


def test_help_lists_every_command() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    listed = [line.split()[1] for line in result.stdout.splitlines() if line.startswith("│ ") and len(line.split()) > 2]
    assert [command for command in COMMANDS if command not in listed] == []


def commands_of(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yield each command that can be run, with its name as it is typed."""
    below = getattr(command, "commands", None)
    if below is None:
        yield " ".join(path), command
    for name, other in (below or {}).items():
        yield from commands_of(other, (*path, name))


ALL = dict(commands_of(typer.main.get_command(app)))


def test_every_command_has_examples() -> None:
    assert set(EXAMPLES) == set(ALL)


@pytest.mark.parametrize(("name", "example"), [(name, line) for name, lines in EXAMPLES.items() for line in lines])
def test_an_example_is_one_that_the_command_takes(name: str, example: str) -> None:
    """Its options and arguments are parsed; nothing is run. What the shell does with its output is left out."""
    words = shlex.split(re.split(" [>|] ", example)[0])
    verb = name.split()
    assert words[: 1 + len(verb)] == ["densenet", *verb]
    ALL[name].make_context(name, words[1 + len(verb) :])
    help_text = CliRunner().invoke(app, [*verb, "--help"], env={"COLUMNS": "200"}).stdout
    assert f" {example} " in help_text


def test_the_version_is_the_packages() -> None:
    declared = tomllib.loads((paths.ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert CliRunner().invoke(app, ["--version"]).stdout == f"densenet {declared}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_completes_commands(shell: str) -> None:
    environment = {"_DENSENET_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": "densenet cl"}
    environment |= {"COMP_WORDS": "densenet cl", "COMP_CWORD": "1", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    result = CliRunner().invoke(app, [], prog_name="densenet", env=environment)
    assert "classify" in result.stdout


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
        for done in pool.map(ask, COMMANDS):
            assert done.returncode == 0, done.stderr
            assert "Usage: " in done.stdout


def test_help_does_not_wait_for_torch() -> None:
    """Importing torch takes seconds, which only building an archive has to wait for; fastapi is an extra."""
    program = "import sys, densenet_serving.cli.main; sys.exit(not {'torch', 'fastapi'}.isdisjoint(sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], cwd=paths.ROOT).returncode == 0
