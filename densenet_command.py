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

OWN = {"densenet_client", "handler", "scripts", "web"}
HERE = Path(__file__).resolve().parent


class OwnFirst(MetaPathFinder):
    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        return PathFinder.find_spec(fullname, [str(HERE)]) if path is None and fullname in OWN else None


def main() -> None:
    sys.meta_path.insert(0, OwnFirst())
    from scripts.cli import main as densenet

    densenet()


if __name__ == "__main__":
    main()
