"""handler/__init__.py draws the layers of the handler: an import only goes down, or stays in its folder."""

from __future__ import annotations

from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from densenet_serving import paths
from tests.densenet_serving.test_imports import files, imports

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


MODULES = {".".join(path.with_suffix("").parts).removesuffix(".__init__"): path for path in files("handler")}
MODULES.pop("handler")


def modules_in(path: Path) -> set[str]:
    """Return the modules of handler/ that a file imports, in place of the names in them."""
    parts = (name.split(".") for name in imports(path))
    return {next((name for i in (3, 2) if (name := ".".join(one[:i])) in MODULES), "") for one in parts} - {""}


IMPORTS = {name: modules_in(path) for name, path in MODULES.items()}


def part(module: str) -> str:
    """Return a module of handler/ itself, or the folder it is in."""
    return module.split(".")[1]


def layer(module: str) -> int:
    [found] = [i for i, parts in enumerate(LAYERS) if part(module) in parts]
    return found


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_go_down(module: str) -> None:
    assert not any(name.split(".")[0] == "ts" for name in imports(MODULES[module])), "handler/ needs no TorchServe"
    for other in IMPORTS[module]:
        assert part(other) == part(module) or layer(other) < layer(module), f"{module} imports {other}"
        assert not (part(module) in PICTURES and part(other) in REQUESTS), f"{module} imports {other}"


def test_no_import_goes_round_in_a_circle() -> None:
    """Within a folder too; prepare() raises CycleError, which names the circle."""
    TopologicalSorter(IMPORTS).prepare()


def test_every_layer_is_drawn() -> None:
    drawing = (paths.HANDLER / "__init__.py").read_text()
    rows = [line.strip() for line in drawing.splitlines() if line.startswith("    ")]
    for parts in LAYERS:
        assert any(parts <= set(row.replace(",", "").split()) for row in rows), f"{parts} have no row"
