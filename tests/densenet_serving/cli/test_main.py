from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from densenet_serving import paths
from densenet_serving.cli.main import EXAMPLES, app


def commands_of(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yield each command that can be run, with its name as it is typed."""
    below = getattr(command, "commands", None)
    if below is None:
        yield " ".join(path), command
    for name, other in (below or {}).items():
        yield from commands_of(other, (*path, name))


ALL = dict(commands_of(typer.main.get_command(app)))


@pytest.mark.parametrize("name", ALL)
def test_every_command_explains_itself_with_examples_that_it_takes(name: str) -> None:
    """Options and arguments are parsed; nothing is run. What the shell does with the output is left out."""
    verb = name.split()
    result = CliRunner().invoke(app, [*verb, "--help"], env={"COLUMNS": "200"})
    assert (result.exit_code, "Usage: " in result.stdout) == (0, True)
    for example in EXAMPLES[name]:
        assert f" {example} " in result.stdout
        words = shlex.split(re.split(" [>|] ", example)[0])
        assert words[: 1 + len(verb)] == ["densenet", *verb]
        ALL[name].make_context(name, words[1 + len(verb) :])


def test_the_unit_of_systemd_starts_a_command_that_there_is() -> None:
    """With KillMode=mixed, since SIGTERM to Java cuts off requests."""
    unit = (paths.ROOT / "deploy" / "densenet.service").read_text()
    [line] = re.findall("^ExecStart=.*/densenet web (.*)$", unit, re.MULTILINE)
    parsed = ALL["web"].make_context("web", shlex.split(line)).params
    assert (parsed["foreground"], parsed["fixed_models"], str(parsed["run_dir"])) == (True, True, "/run/densenet")
    assert "\nKillMode=mixed\n" in unit


def test_help_lists_every_command() -> None:
    assert set(EXAMPLES) == set(ALL)
    listed = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).stdout
    assert [verb for name in ALL if f"│ {(verb := name.split()[0])} " not in listed] == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_completes_commands(shell: str) -> None:
    environment = {"_DENSENET_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": "densenet cl"}
    environment |= {"COMP_WORDS": "densenet cl", "COMP_CWORD": "1", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    result = CliRunner().invoke(app, [], prog_name="densenet", env=environment)
    assert "classify" in result.stdout


@pytest.mark.parametrize(
    "arguments", [["unknown"], ["archive", "--unknown"], ["serve", "--port", "70000"], ["classify"]]
)
def test_a_wrong_use_is_status_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 2


def test_a_command_is_a_module_of_its_own() -> None:
    """Each of scripts/ is, and they are alike but for the name."""
    for file in (paths.ROOT / "scripts").glob("[a-z]*.py"):
        assert f'main("{file.stem}")' in file.read_text()
    done = subprocess.run([sys.executable, "-m", "scripts.stop", "--help"], cwd=paths.ROOT, capture_output=True)
    assert (done.returncode, b"Usage: " in done.stdout) == (0, True)


def test_help_does_not_wait_for_torch() -> None:
    """Importing torch takes seconds, which only building an archive has to wait for; fastapi is an extra."""
    program = "import sys, densenet_serving.cli.main; sys.exit(not {'torch', 'fastapi'}.isdisjoint(sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], cwd=paths.ROOT).returncode == 0
