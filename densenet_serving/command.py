"""The command `densenet`, which finds its own packages whatever lies on PYTHONPATH.

A folder there comes before what is installed, and TorchServe's tutorials call a person's own file handler.py.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

OWN = {"densenet_client", "handler"}  # densenet_serving has been found when this runs
HERE = Path(__file__).resolve().parent.parent


class OwnFirst(MetaPathFinder):
    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        return PathFinder.find_spec(fullname, [str(HERE)]) if path is None and fullname in OWN else None


def main(*command: str) -> None:
    """Run `densenet COMMAND` with the arguments of this process."""
    sys.meta_path.insert(0, OwnFirst())
    sys.argv[1:1] = command
    from densenet_serving.cli.main import main as densenet

    densenet()
