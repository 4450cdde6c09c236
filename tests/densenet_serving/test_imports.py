"""Which parts of the project may import which: read from the source, since an import inside a function counts too."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import torch

from densenet_serving import paths
from densenet_serving.build import vision

SHARED = "shared"  # the modules at the top of densenet_serving, and densenet_client
# Each imports only those before it.
LAYERS = ("handler", SHARED, "build", "client", "gateway", "server", "bulk", "cli", "command")
PACKAGE = "densenet_serving"
# Each imports only those of the rows before it, and of its own.
GATEWAY_LAYERS = (
    ("settings", "errors", "keys", "clients", "kept"),
    ("budget", "slots", "answer"),
    ("connections", "protocol", "retry", "upstream"),
    ("access", "bodies", "messages", "sites"),
    ("schemas", "uploads"),
    ("photos", "status", "pages"),
    ("app",),
    ("__main__",),
)
# They load without the extra `web`, since commands import them.
WITHOUT_FASTAPI = ("gateway/keys.py", "gateway/settings.py", "server/gateway.py", "server/drain.py")


def files(folder: str) -> list[Path]:
    return sorted(path.relative_to(paths.ROOT) for path in (paths.ROOT / folder).rglob("*.py"))


def imports(path: Path, *, run: bool = False, types: bool = True) -> Iterator[str]:
    """Yield what a file imports: the modules and each name in them; with `run` only what is imported when it is run.

    Without `types`, what is imported for annotations alone is left out.
    """
    tree = ast.parse((paths.ROOT / path).read_text())
    if not types:
        tree.body = [node for node in tree.body if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node))]
    for node in tree.body if run else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer(name: str) -> str | None:
    """Return the layer of a dotted name; None if it is no part of the product."""
    top, *rest = name.split(".")
    if top == "handler":
        return top
    if top == PACKAGE:
        return rest[0] if rest and rest[0] in LAYERS else SHARED
    return {"densenet_client": SHARED}.get(top)


@pytest.mark.parametrize("path", [*files("handler"), *files(PACKAGE)], ids=str)
def test_imports_go_one_way(path: Path) -> None:
    own = layer(".".join(path.with_suffix("").parts))
    assert own is not None
    allowed = LAYERS[: LAYERS.index(own) + 1]

    found = set(imports(path))
    assert {name for name in found if (other := layer(name)) and other not in allowed} == set()
    others = ("scripts", "tests", "benchmarks", "training")
    assert {name for name in found if name.partition(".")[0] in others} == set()


@pytest.mark.parametrize("path", files(f"{PACKAGE}/gateway"), ids=str)
def test_imports_of_the_gateway_go_one_way(path: Path) -> None:
    own = next((i for i, row in enumerate(GATEWAY_LAYERS) if path.stem in row), 0)
    below = {name for row in GATEWAY_LAYERS[: own + 1] for name in row}
    prefix = f"{PACKAGE}.gateway."
    assert {name.removeprefix(prefix).split(".")[0] for name in imports(path) if name.startswith(prefix)} <= below
    assert path.stem == "__init__" or path.stem in below, "it has no row"


def test_no_import_goes_round_in_a_circle() -> None:
    """prepare() raises CycleError, which names the circle."""
    modules = {".".join(path.with_suffix("").parts): path for path in files(PACKAGE)}
    graph = {
        module: {name if name in modules else name.rpartition(".")[0] for name in imports(path, types=False)}
        & modules.keys()
        for module, path in modules.items()
    }
    assert sum(map(len, graph.values())) > len(modules)
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("path", WITHOUT_FASTAPI)
def test_what_commands_import_needs_no_fastapi(path: str) -> None:
    loaded = set(imports(Path(PACKAGE) / path, run=True))
    assert {name for name in loaded if name.startswith(("fastapi", "starlette"))} == set()


def test_torchvision_is_imported_in_one_place_only() -> None:
    """It is made to fit any build of torch there."""
    folders = (PACKAGE, "handler", "tests")
    found = [path.name for folder in folders for path in files(folder) if "torchvision" in tops_of(path)]
    assert found == ["vision.py"]
    assert vision.torchvision
    assert torch.ops.torchvision.nms is not None


def tops_of(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}


def test_a_worker_of_bulk_imports_no_handler_before_that_of_its_archive() -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install -e '.[bulk]'")
    program = "import sys, densenet_serving.bulk.worker; sys.exit('handler' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=paths.ROOT).returncode == 0


def test_the_command_line_has_every_command() -> None:
    """A file of cli/ is a command, but for those that all commands use; and scripts/ has one of the same name."""
    ours = {path.stem for path in files(f"{PACKAGE}/cli")} - {"__init__", "main"}
    imported = {name.split(".")[2] for name in imports(Path(PACKAGE) / "cli" / "main.py") if ".cli." in f"{name}."}
    assert imported == ours
    assert {path.stem for path in files("scripts")} - {"__init__"} == ours
