"""docs/reliability.md claims nothing without a test."""

from __future__ import annotations

import ast
import re

import pytest

from densenet_serving import paths

TEXT = (paths.ROOT / "docs" / "reliability.md").read_text()
NAMED = sorted(set(re.findall(r"`(test_\w+)::(test_\w+)`", TEXT)))


SERVING = paths.ROOT / "tests" / "densenet_serving"
FAULTS = (
    *sorted((paths.ROOT / "tests" / "faults").glob("test_*.py")),
    *(paths.ROOT / "tests" / "lifecycle" / name for name in ("test_start.py", "test_stop.py", "test_unit.py")),
    paths.ROOT / "tests" / "bulk" / "test_cluster.py",
    paths.ROOT / "tests" / "bulk" / "test_command.py",
    *sorted((paths.ROOT / "tests" / "hosts").glob("test_*.py")),
)
# Of these some tests are about what breaks.
OTHERS = (
    SERVING / "cli" / "test_web.py",
    *(SERVING / "server" / f"test_{name}.py" for name in ("lock", "memory", "ports", "torchserve")),
    SERVING / "build" / "test_build.py",
)


def names_in(module: str) -> set[str]:
    [file] = [path for path in (*FAULTS, *OTHERS) if path.stem == module]
    tree = ast.parse(file.read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


@pytest.mark.parametrize(("module", "test"), NAMED)
def test_a_test_that_is_named_exists(module: str, test: str) -> None:
    assert test in names_in(module)


def test_every_fault_that_is_tried_is_described() -> None:
    assert {(path.stem, test) for path in FAULTS for test in names_in(path.stem)} <= set(NAMED)


def test_every_fault_names_its_test() -> None:
    tables = re.findall(r"^\| Fault \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
    assert len(tables) == TEXT.count("| Fault |")
    rows = "".join(tables).splitlines()
    assert rows
    assert not [row for row in rows if not re.search(r"`test_\w+::test_\w+` \|$", row)]
