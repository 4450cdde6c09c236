"""Which way the gateway's imports go."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from scripts import paths

WEB = paths.ROOT / "web"
FILES = sorted(path.relative_to(paths.ROOT) for path in WEB.rglob("*.py"))
# What the gateway may use of scripts/: no command, and nothing that builds models or archives.
SHARED = ("scripts.client", "scripts.errors", "scripts.files", "scripts.paths", "scripts.server")
# Each may import those before it.
ORDER = (
    "settings",
    "errors",
    "keys",
    "limits",
    "http",
    "torchserve",
    "guards",
    "routes",
    "app",
    "gateway",
    "unit",
    "__main__",
)
# They load without the extra `web`, since commands import them.
WITHOUT_FASTAPI = ("web/gateway.py", "web/keys.py", "web/unit.py")


def imported(path: Path, *, run: bool = False) -> set[str]:
    """Name the modules that a file imports; with `run` only those that are imported when it is run."""
    tree = ast.parse((paths.ROOT / path).read_text())
    names = set()
    for node in tree.body if run else ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", FILES, ids=str)
def test_no_command_is_imported(path: Path) -> None:
    taken = {name for name in imported(path) if name.partition(".")[0] == "scripts"}

    assert {name for name in taken if not name.startswith(SHARED)} == set()


@pytest.mark.parametrize("path", [path for path in FILES if path.parts[1] != "__init__.py"], ids=str)
def test_imports_go_one_way(path: Path) -> None:
    wing = path.parts[1].removesuffix(".py")
    before = {wing, *ORDER[: ORDER.index(wing)]}

    others = {name.split(".")[1] for name in imported(path) if name.startswith("web.")}
    assert others <= before


@pytest.mark.parametrize("path", WITHOUT_FASTAPI)
def test_what_commands_import_needs_no_fastapi(path: str) -> None:
    loaded = {name for name in imported(Path(path), run=True) if name.startswith(("fastapi", "starlette", "web"))}
    assert {name for name in loaded if not name.startswith("web.gateway.")} == set()
