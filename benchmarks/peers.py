"""The peers' own environment: made by the benchmark, apart from the one that serves."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from densenet_serving import paths

FOLDER = paths.ROOT / "build" / "bench-venv"
BIN = FOLDER / "bin"
REQUIREMENTS = Path(__file__).parent / "requirements.txt"
CONSTRAINTS = Path(__file__).parent / "constraints.txt"
STAMP = FOLDER / "installed.json"
# What several contenders need: one that cannot be had ends the benchmark of all of them.
SHARED = ("torch", "torchvision", "numpy", "pillow", "openvino", "psutil", "pyyaml")


def install(progress: Callable[[str], None]) -> dict[str, str]:
    """Make the environment where it is missing or its requirements changed.

    Returns why each package that cannot be installed cannot, by name; empty where all is well.
    """
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + CONSTRAINTS.read_bytes()).hexdigest()
    if STAMP.exists() and json.loads(STAMP.read_text()) == wanted:
        return {}
    if not (BIN / "python").exists():
        progress("Making the peers' environment")
        subprocess.run([sys.executable, "-m", "venv", FOLDER], check=True)
    requirements = read_requirements(REQUIREMENTS.read_text())
    progress(f"Installing {len(requirements)} packages and what they need (a minute or two)")
    if pip_install(list(requirements.values())) is None:
        STAMP.write_text(json.dumps(wanted))
        return {}
    failures = {}
    for name, requirement in requirements.items():  # one by one, to learn which it is
        progress(f"Installing {requirement}")
        if reason := pip_install([requirement]):
            failures[name] = reason
    return failures


def read_requirements(text: str) -> dict[str, str]:
    """Package names (without extras) to their requirement lines."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return {re.split(r"[\[=<>~! ]", line, maxsplit=1)[0].lower(): line for line in lines}


def pip_install(requirements: list[str]) -> str | None:
    """Returns pip's own reason where it fails."""
    command: list[str | Path] = [BIN / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*command, "--constraint", CONSTRAINTS, *requirements], capture_output=True, text=True)
    if done.returncode == 0:
        return None
    return next((line for line in done.stderr.splitlines() if line.startswith("ERROR")), done.stderr.strip()[-300:])


def reason_missing(package: str | None, failures: dict[str, str]) -> str | None:
    """Tell why a contender that needs `package` cannot be started, or None."""
    needed = (*SHARED, package) if package else ()
    return next((f"{name} cannot be installed: {failures[name]}" for name in needed if name in failures), None)


def versions() -> dict[str, str]:
    """What is installed of the requirements, by name."""
    command: list[str | Path] = [BIN / "python", "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    installed = {package["name"].lower(): package["version"] for package in json.loads(done.stdout)}
    return {name: installed[name] for name in read_requirements(REQUIREMENTS.read_text()) if name in installed}
