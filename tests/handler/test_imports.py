"""handler/__init__.py draws the layers of the handler: an import only goes down, or stays in its wing."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from densenet_serving import paths

LAYERS = (
    {"errors", "context", "memory"},
    {"card"},
    {"settings", "encodings", "answers"},
    {"preprocessing", "explanations", "labels", "cores", "parameters"},
    {"images", "engines", "metrics"},
    {"decoder_process", "operations"},
    {"decoding", "decoder_program"},
    {"protocols"},
    {"classifier"},
)
# Pictures and what computes know nothing of requests.
PICTURES = {"decoder_process", "decoder_program", "engines", "preprocessing", "explanations", "images", "memory"}
REQUESTS = {"parameters", "answers", "operations", "protocols"}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(paths.ROOT).with_suffix("").parts)


def imports_of(path: Path) -> set[str]:
    """Full names of all modules that a file imports, at its top or in a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import, which fails in TorchServe's worker"
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & MODULES
            found |= inner or {str(node.module)}
    return found


FILES = {name_of(path).removesuffix(".__init__"): path for path in paths.HANDLER.rglob("*.py")}
FILES.pop("handler")
MODULES = set(FILES)
IMPORTS = {name: imports_of(path) for name, path in FILES.items()}


def room(module: str) -> str:
    """A module of handler/ itself, or the wing it is in."""
    return module.split(".")[1]


def layer(module: str) -> int:
    [found] = [i for i, rooms in enumerate(LAYERS) if room(module) in rooms]
    return found


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_go_down(module: str) -> None:
    for other in IMPORTS[module] & MODULES:
        assert room(other) == room(module) or layer(other) < layer(module), f"{module} imports {other}"
        assert not (room(module) in PICTURES and room(other) in REQUESTS), f"{module} imports {other}"


def test_no_import_goes_round_in_a_circle() -> None:
    """Within a wing too; prepare() raises CycleError, which names the circle."""
    TopologicalSorter({name: found & MODULES for name, found in IMPORTS.items()}).prepare()


@pytest.mark.parametrize("module", sorted(MODULES))
def test_nothing_outside_the_archive_is_imported(module: str) -> None:
    outside = {"ts", "densenet_serving", "scripts", "tests", "training", "benchmarks"}
    assert not {name.partition(".")[0] for name in IMPORTS[module]} & outside


def test_every_layer_is_drawn() -> None:
    drawing = (paths.HANDLER / "__init__.py").read_text()
    rows = [line.strip() for line in drawing.splitlines() if line.startswith("    ")]
    for rooms in LAYERS:
        assert any(rooms <= set(row.replace(",", "").split()) for row in rows), f"{rooms} have no row"
