"""How commands speak: results on stdout, everything else on stderr, errors as one sentence."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

from scripts.errors import CommandError

# The file system's refusals, which no command can foresee everywhere it writes.
NOT_OURS = {errno.EACCES, errno.EDQUOT, errno.ENOSPC, errno.EPERM, errno.EROFS}

out = Console()
err = Console(stderr=True)


def note(message: str) -> None:
    """Say what was done."""
    err.print(escape(message), highlight=False, soft_wrap=True)


def warn(message: str) -> None:
    """Say what a person should know although the command goes on."""
    err.print(f"[yellow]{escape(message)}[/]", highlight=False, soft_wrap=True)


def fail(error: CommandError) -> int:
    err.print(f"[bold red]Error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
    return 1


def run(app: typer.Typer | Callable[..., Any]) -> None:
    """Run a Typer app, or one function as a command of its own, and exit with its status."""
    if not isinstance(app, typer.Typer):
        function, app = app, typer.Typer(add_completion=False)
        app.command()(function)
    try:
        app(standalone_mode=True)
    except CommandError as error:
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
