from __future__ import annotations

import errno
import io
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import typer

from densenet_serving import console, paths
from densenet_serving.errors import CommandError, NoWeights

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


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (CommandError("Nothing works: do something."), "Nothing works: do something.\n"),
        (OSError(errno.ENOSPC, "No space left on device"), "A file cannot be used (No space left on device): make"),
        (PermissionError(errno.EACCES, "Permission denied", "/a"), "/a cannot be used (Permission denied): make"),
        (OSError(errno.EROFS, "Read-only file system", "/b"), "/b cannot be used (Read-only file system): choose"),
        (OSError(errno.EMFILE, "Too many open files", "/c"), "/c cannot be used (Too many open files): raise"),
    ],
)
def test_an_error_is_one_sentence_and_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, said: str
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


def test_commands_and_paths_are_named_as_the_shell_finds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: "/bin/densenet")
    assert console.console_script() == "densenet"
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert console.console_script().endswith("/densenet")
    monkeypatch.chdir(tmp_path)
    assert console.relative(tmp_path / "a" / "b") == "a/b"
    assert console.relative(Path("/elsewhere")) == "/elsewhere"


@pytest.mark.parametrize(("umask", "mode"), [(0, 0o644), (0o077, 0o600)])
def test_nobody_else_may_write_into_what_a_command_makes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, umask: int, mode: int
) -> None:
    before = os.umask(umask)
    try:
        assert run(monkeypatch, lambda: (tmp_path / "made").touch()) == 0
    finally:
        os.umask(before)
    assert (tmp_path / "made").stat().st_mode & 0o777 == mode


def test_letters_that_the_terminal_lacks_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    assert run(monkeypatch, lambda: print("größe")) == 0
    stream.flush()
    assert stream.buffer.getvalue() == b"gr\\xf6\\xdfe\n"


def test_a_current_folder_that_was_removed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (gone := tmp_path / "gone").mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert run(monkeypatch, lambda: None) == 1
    assert capsys.readouterr().err == "Error: The current folder was removed: cd to another.\n"
    monkeypatch.chdir(tmp_path)


def test_commands_can_be_pasted_into_a_shell() -> None:
    assert console.shell("curl", "-F", "file=@my photos/größe.jpg") == "curl -F 'file=@my photos/größe.jpg'"
    assert console.run_dir_flag(Path("/my run")) == " --run-dir '/my run'"
    assert console.run_dir_flag(paths.RUN_DIR) == ""


def test_bytes_of_a_name_that_are_not_utf_8_can_be_printed_and_opened_again() -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    assert console.visible(name) == "caf\\xe9.jpg"
    line = console.json_line({"image": name})
    assert line.isascii()
    assert json.loads(line) == {"image": name}
