"""How commands speak: results on stdout, everything else on stderr, errors as one sentence."""

from __future__ import annotations

import errno
import json
import re
import sys
from collections.abc import Callable
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

from scripts.errors import CommandError, ServingError

# The file system's refusals, which no command can foresee everywhere it writes.
NOT_OURS = {errno.EACCES, errno.EDQUOT, errno.ENOSPC, errno.EPERM, errno.EROFS}

# C0 and C1 controls and DEL, but for the line breaks and tabs that our own messages hold.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

out = Console()
err = Console(stderr=True)


def plain(text: str) -> str:
    """Make text that may come from anywhere safe to print: no markup, and control characters as \\x1b and the like.

    A terminal obeys some of them: they move the cursor, change titles and colors, and hide what else is printed.
    """
    return escape(visible(text))


def visible(text: str) -> str:
    """Write control characters as \\x1b and the like."""
    return CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def json_line(value: Any) -> str:
    """Write a value as JSON on one line, readable in any language, with no control character in it."""
    return CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))


def note(message: str) -> None:
    """Say what was done."""
    err.print(plain(message), highlight=False, soft_wrap=True)


def warn(message: str) -> None:
    """Say what a person should know although the command goes on."""
    err.print(f"[yellow]{plain(message)}[/]", highlight=False, soft_wrap=True)


def fail(error: ServingError) -> int:
    err.print(f"[bold red]Error:[/] {plain(str(error))}", highlight=False, soft_wrap=True)
    return 1


def run(app: typer.Typer | Callable[..., Any]) -> None:
    """Run a Typer app, or one function as a command of its own, and exit with its status."""
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
        where = f" at {error.filename}" if error.filename else ""
        sys.exit(
            fail(
                CommandError(f"Nothing can be written{where} ({error.strerror}): make room, or choose another folder.")
            )
        )
