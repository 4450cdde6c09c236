from __future__ import annotations

import errno
import json
import shutil
import sys
from pathlib import Path

import pytest
import typer

from scripts import console
from scripts.errors import CommandError, NoWeights

BRACKETS = 'must map "0" to a pair [class id, class name], not [/] or [bold]'


@pytest.mark.parametrize("say", [console.note, console.warn, lambda text: console.fail(CommandError(text))])
def test_brackets_are_text_and_no_markup(say: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert callable(say)
    say(BRACKETS)
    captured = capsys.readouterr()
    assert BRACKETS in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("hostile", ["\x1b]0;owned\x07", "\x9b2J", "cat\rdog", "\x7f", "\x00"])
def test_a_terminal_gets_no_control_character(hostile: str, capsys: pytest.CaptureFixture[str]) -> None:
    console.note(f"first line\n\tthe class {hostile}")
    said = capsys.readouterr().err
    assert not console.CONTROL.search(said)
    assert said.count("\n") == 2
    assert f"\\x{ord(hostile[0]) if hostile[0] != 'c' else 13:02x}" in said

    assert not console.CONTROL.search(console.json_line({"class_name": hostile}))
    assert json.loads(console.json_line({"class_name": hostile})) == {"class_name": hostile}


def run(monkeypatch: pytest.MonkeyPatch, app: object, *arguments: str) -> int:
    assert callable(app)
    monkeypatch.setattr(sys, "argv", ["command", *arguments])
    with pytest.raises(SystemExit) as caught:
        console.run(app)
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_a_function_is_a_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def greet(name: str) -> None:
        print("Hello", name)

    assert run(monkeypatch, greet, "you") == 0
    assert capsys.readouterr().out == "Hello you\n"


def test_an_error_is_one_sentence_and_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise CommandError("Nothing works: do something.")

    assert run(monkeypatch, fail) == 1
    assert capsys.readouterr().err == "Error: Nothing works: do something.\n"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "Nothing can be written (No space left on device): make room",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "/a"), "Nothing can be written at /a (Permission denied)"),
        (OSError(errno.EROFS, "Read-only file system", "/b"), "Nothing can be written at /b (Read-only file system)"),
    ],
)
def test_what_the_file_system_refuses_is_no_bug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: OSError, said: str
) -> None:
    def fail() -> None:
        raise error

    assert run(monkeypatch, fail) == 1
    assert capsys.readouterr().err.startswith(f"Error: {said}")


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(sys, "argv", ["command"])
    with pytest.raises(ZeroDivisionError):
        console.run(app)


def test_what_was_tried_is_one_paragraph() -> None:
    error = NoWeights([("a", "not set"), ("b", "empty")], "Do this.")
    assert str(error) == "No DenseNet-121 weights were found. Tried a: not set; b: empty. Do this."


def test_the_command_is_named_as_the_shell_finds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: "/bin/densenet")
    assert console.console_script() == "densenet"
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert console.console_script().endswith("/densenet")


def test_paths_are_shown_from_where_the_reader_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert console.relative(tmp_path / "a" / "b") == "a/b"
    assert console.relative(Path("/elsewhere")) == "/elsewhere"
