"""`densenet models` against the running server."""

from __future__ import annotations

from collections.abc import Callable
from subprocess import CompletedProcess

from densenet_serving.options import STAND_IN

Models = Callable[..., CompletedProcess[str]]


def succeed(done: CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_refused(done: CompletedProcess[str], reason: str) -> None:
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def with_name(name: str) -> Callable[[str], str]:
    return lambda text: text.replace(f'"{STAND_IN}"', f'"{name}"')
