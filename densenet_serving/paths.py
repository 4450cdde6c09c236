"""The paths of the project's files, in a checkout and in an installed package.

a checkout    everything is in the repository
installed     what is read is in the environment's share/densenet-serving; what is written is in the user's data folder
"""

from __future__ import annotations

import os
import site
import sys
from pathlib import Path

NAME = "densenet-serving"
ROOT = Path(__file__).resolve().parent.parent  # holds the packages handler and densenet_serving


def data_folder() -> Path:
    """Return the folder with the files that pyproject.toml lists as data-files; in a checkout the repository.

    pip puts such files below the environment, with --user below the user's base, and with --target below the target.
    """
    bases = (sys.prefix, site.getuserbase(), ROOT)
    folders = (ROOT, *(Path(base) / "share" / NAME for base in bases))
    return next(folder for folder in folders if (folder / "config.properties").is_file())


def home_folder() -> Path:
    """Return the folder for what the commands write: the repository, or else one in the user's data folder.

    That is $XDG_DATA_HOME/densenet-serving (XDG Base Directory Specification 0.8), wherever the command is called.
    """
    if DATA == ROOT:
        return ROOT
    if named := os.environ.get("XDG_DATA_HOME"):
        return Path(named) / NAME
    try:
        return Path.home() / ".local" / "share" / NAME
    except RuntimeError:  # as in a container whose user has no entry in /etc/passwd
        sys.exit("Error: This user has no home folder: set HOME, or XDG_DATA_HOME to the folder for models and logs.")


DATA = data_folder()
HOME = home_folder()
HANDLER = ROOT / "handler"
SERVER = ROOT / "densenet_serving" / "server"
LABELS = DATA / "index_to_name.json"
SERVER_CONFIG = DATA / "config.properties"
LOG_CONFIG = SERVER / "log4j2.xml"
METRICS_CONFIG = SERVER / "metrics.yaml"
SAMPLE_PHOTO = DATA / "docs" / "coffee.jpg"
WEIGHTS = HOME / "weights"
MODEL_STORE = HOME / "model_store"
RUN_DIR = HOME / ".torchserve"  # logs, tokens and state of the server that `densenet serve` started
OWN_LABELS = LABELS if DATA == ROOT else Path(LABELS.name)  # where `densenet labels` writes


def handler_files() -> list[Path]:
    """Return the handler's modules and its settings."""
    return sorted(path for path in HANDLER.rglob("*") if path.suffix in (".py", ".yaml"))
