"""The command line of TorchServe's Java program, as `torchserve --start` of TorchServe 0.12 builds it.

That command starts Java and ends. Without it, Java is a child of the command that starts it: its end is seen at once,
whatever the clock or a file of pids says.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from densenet_serving import paths
from densenet_serving.errors import CommandError

MAIN_CLASS = "org.pytorch.serve.ModelServer"
OWN_LOG_CONFIG = "-Dlog4j.configurationFile="


def command_line(java: Path, config: Path, temporary: Path, values: Mapping[str, str]) -> list[str | Path]:
    """Return the command that runs TorchServe on the settings `values`, which are in the file `config`."""
    packages = installed_in()
    vmargs = [word for word in values["vmargs"].split() if not word.startswith(OWN_LOG_CONFIG)]
    return [
        java,
        f"-Dmodel_server_home={packages}",
        f"{OWN_LOG_CONFIG}{paths.LOG_CONFIG.as_uri()}",
        f"-Djava.io.tmpdir={temporary}",
        *vmargs,
        "-cp",
        packages / "ts" / "frontend" / "*",
        MAIN_CLASS,
        *("--python", sys.executable),
        *("-f", config),
        *("-s", values["model_store"]),
        "-ncs",  # no snapshots of the configuration
    ]


def installed_in() -> Path:
    """Return the folder of packages that has TorchServe's. Raises CommandError."""
    found = find_spec("ts")
    if not found or not found.origin:
        raise CommandError("TorchServe is not installed here: run pip install torchserve.")
    return Path(found.origin).resolve().parent.parent
