"""The output of commands: results on stdout, everything else on stderr, errors as one sentence."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

from densenet_serving import paths
from densenet_serving.errors import CommandError, ServingError
from densenet_serving.files import as_text

# Errors of the system that no command can foresee everywhere it reads and writes, and what to do.
NOT_OURS = {
    **dict.fromkeys((errno.EDQUOT, errno.ENOSPC), "make room, or choose another folder"),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "make it one that you may read and write, or choose another"),
    errno.EROFS: "choose a folder that can be written, or make this one so",
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "raise ulimit -n, or end other programs"),
}

# The control characters C0, C1 and DEL, except the line breaks and tabs that our own messages hold.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

# The same, and the halves of characters that stand for bytes of a file's name that are not UTF-8.
UNPRINTABLE = re.compile(f"{CONTROL.pattern}|[\\ud800-\\udfff]")

out = Console()
err = Console(stderr=True)


def plain(text: str) -> str:
    """Make text from any source safe to print: no markup, and control characters as \\x1b and the like.

    A terminal obeys some of them: they move the cursor, change titles and colors, and hide other text.
    """
    return escape(visible(text))


def visible(text: str) -> str:
    """Write control characters as \\x1b and the like, and so the bytes of a file's name that are not UTF-8."""
    return CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", as_text(text))


def json_line(value: Any) -> str:
    """Write a value as JSON on one line, readable in any language, with no control character in it.

    A byte of a file's name that is not UTF-8 is \\udcXX: json.loads returns the name that Python opens.
    """
    line = json.dumps(value, ensure_ascii=not out.encoding.startswith("utf"))
    return UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", line)


def shell(*words: str | Path) -> str:
    """Write words of a command for a reader to paste into a shell."""
    return shlex.join(visible(str(word)) for word in words)


def console_script() -> str:
    """Name the `densenet` command as the reader's shell finds it."""
    return shell("densenet" if shutil.which("densenet") else relative(Path(sys.executable).with_name("densenet")))


def run_dir_flag(run_dir: Path) -> str:
    """Return what a command needs to find the server of a run folder: nothing for the default one."""
    return "" if run_dir == paths.RUN_DIR else f" --run-dir {shell(run_dir)}"


def relative(path: Path) -> str:
    """Shorten a path for a person in the current folder."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def print_facts(facts: Mapping[str, str]) -> None:
    """Print a command's result as lines of a name and a value."""
    for name, value in facts.items():
        out.print(f"[bold]{name:<12}[/] {plain(value)}", highlight=False, soft_wrap=True)


def note(message: str) -> None:
    """Say what was done, on stderr."""
    err.print(plain(message), highlight=False, soft_wrap=True)


def warn(message: str) -> None:
    """Say what a person should know, although the command goes on."""
    err.print(f"[yellow]{plain(message)}[/]", highlight=False, soft_wrap=True)


def fail(error: ServingError) -> int:
    err.print(f"[bold red]Error:[/] {plain(str(error))}", highlight=False, soft_wrap=True)
    return 1


def run(app: typer.Typer | Callable[..., Any]) -> None:
    """Run a Typer app, or one function as a command of its own, and exit with its status."""
    os.umask(os.umask(0o022) | 0o022)  # whatever the caller's is, nobody else may write into what is made here
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a locale may lack letters of an answer
            stream.reconfigure(errors="backslashreplace")
    try:
        Path.cwd()
    except FileNotFoundError:
        sys.exit(fail(CommandError("The current folder was removed: cd to another.")))
    if not isinstance(app, typer.Typer):
        function, app = app, typer.Typer(add_completion=False)
        app.command()(function)
    try:
        app(standalone_mode=True)
    except ServingError as error:
        sys.exit(fail(error))
    except OSError as error:
        if error.errno not in NOT_OURS:
            raise
        where = error.filename or "A file"
        sys.exit(fail(CommandError(f"{where} cannot be used ({error.strerror}): {NOT_OURS[error.errno]}.")))
