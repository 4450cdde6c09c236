"""The console script finds the project's own modules, whatever lies on PYTHONPATH."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

from densenet_serving import command, paths


def test_a_persons_own_files_of_the_same_names(tmp_path: Path) -> None:
    for name in sorted(command.OWN):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('{name} is another')")
    done = subprocess.run(
        [sys.executable, "-c", "from densenet_serving.command import main; main()", "classify", "--help"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": "."},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "Print the class of every image" in done.stdout


def test_it_names_every_package_of_the_project() -> None:
    declared = tomllib.loads((paths.ROOT / "pyproject.toml").read_text())
    packages = {name.rstrip("*") for name in declared["tool"]["setuptools"]["packages"]["find"]["include"]}
    modules = set(declared["tool"]["setuptools"]["py-modules"])
    assert (packages | modules) - {"densenet_serving"} == command.OWN
    assert declared["project"]["scripts"] == {"densenet": "densenet_serving.command:main"}
