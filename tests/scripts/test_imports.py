"""Which rooms of the project may import which: read from the source, since an import inside a function counts too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from scripts import cli, paths

COMMANDS = {
    f"scripts.{name}"
    for name in ("serve", "web", "stop", "classify", "bulk", "explain", "archive", "models", "labels", "token", "keys")
}
WINGS = ("scripts.model", "scripts.archives", "scripts.server", "scripts.client", "scripts.batch")
ROOMS = ("scripts", "handler", "web", "benchmarks", "training")


def modules(room: str) -> dict[str, Path]:
    """Map each module of a package, by its dotted name, to its file."""
    files = (paths.ROOT / room.replace(".", "/")).rglob("*.py")
    return {".".join(file.relative_to(paths.ROOT).with_suffix("").parts): file for file in files}


def imports(file: Path) -> Iterator[str]:
    """Yield what a file imports: the modules and, since `from scripts import serve` names one, each name in them."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_in(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


def test_commands_are_those_at_the_top() -> None:
    """A module at the top of scripts/ that can be run is a command; the others are shared by all."""
    runnable = {name for name, file in modules("scripts").items() if "__main__" in file.read_text()}
    assert {name for name in runnable if name.count(".") == 1} == COMMANDS | {cli.__name__}


@pytest.mark.parametrize("room", ROOMS)
def test_nothing_imports_a_command_but_the_command_line(room: str) -> None:
    found = {
        (name, imported)
        for name, file in modules(room).items()
        for imported in imports(file)
        if imported in COMMANDS and name != cli.__name__
    }
    assert found == set()


def test_the_command_line_has_every_command() -> None:
    assert {imported for imported in imports(Path(cli.__file__)) if imported in COMMANDS} == COMMANDS


def test_the_wings_of_scripts_stand_in_a_row() -> None:
    """Each wing imports only those before it, so that one can be read without the ones behind."""
    arrows: dict[str, set[str]] = {
        wing: {
            other
            for file in modules(wing).values()
            for imported in imports(file)
            for other in WINGS
            if is_in(imported, other) and other != wing
        }
        for wing in WINGS
    }
    try:
        order = list(TopologicalSorter(arrows).static_order())
    except CycleError as error:
        pytest.fail(f"{' <- '.join(error.args[1])} is a circle")
    assert set(order[-2:]) == {"scripts.server", "scripts.batch"}


@pytest.mark.parametrize(
    ("room", "others"),
    [
        ("handler", ("scripts", "web", "benchmarks", "training", "tests")),
        ("scripts", ("benchmarks", "training", "tests")),
        ("web", ("benchmarks", "training", "tests")),
        *((wing, ("web",)) for wing in WINGS),
    ],
)
def test_a_room_does_not_import_what_stands_on_it(room: str, others: tuple[str, ...]) -> None:
    found = {
        (name, imported)
        for name, file in modules(room).items()
        for imported in imports(file)
        if any(is_in(imported, other) for other in others)
    }
    assert found == set()
