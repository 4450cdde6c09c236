"""The wheel works by itself: installed in an empty environment, called from an empty folder, as pip install . has it.

The environment sees the packages of this one through a .pth file, so that nothing is downloaded.
"""

from __future__ import annotations

import os
import site
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from densenet_serving import paths
from densenet_serving.build.archives import file_of
from densenet_serving.files import digest_file
from densenet_serving.options import STAND_IN
from handler.settings import Precision
from tests.densenet_serving.build.archive_files import members
from tests.sources import copy_sources

SECONDS = 120  # for each command; the longest takes 16 s on two cores
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


@dataclass(frozen=True)
class Installed:
    """The environment, and the folder of the user who calls its commands from `folder`."""

    environment: Path
    home: Path
    folder: Path

    def run(self, name: str, *arguments: str) -> str:
        """Run one of the environment's programs and return what it printed."""
        # No other variable: PYTHONPATH and the like could lead to the repository, or to a person's own files.
        own = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
        own |= {"HOME": str(self.home), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [str(self.environment / "bin" / name), *arguments]
        done = subprocess.run(command, cwd=self.folder, env=own, capture_output=True, text=True, timeout=SECONDS)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def data(self) -> Path:
        return self.home / ".local" / "share" / paths.NAME

    def files(self) -> set[Path]:
        return {path for path in self.environment.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel of a copy of the sources: setuptools writes beside them, and packs what earlier builds left there."""
    scratch = tmp_path_factory.mktemp("package")
    copy_sources(scratch / "sources", "*.egg-info", "*.mar", "*.pth", "*.safetensors")
    call(*PIP, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", scratch, scratch / "sources")
    [wheel] = scratch.glob("*.whl")
    call(sys.executable, "-m", "venv", "--without-pip", scratch / "environment")
    python = scratch / "environment" / "bin" / "python"
    call(*PIP, "--python", python, "install", "--no-deps", "--no-index", wheel)
    [packages] = (scratch / "environment").glob("lib/python*/site-packages")
    (packages / "shared.pth").write_text("\n".join(site.getsitepackages()))
    made = Installed(scratch / "environment", scratch / "home", scratch / "empty")
    made.home.mkdir()
    made.folder.mkdir()
    return made


def call(*command: str | Path) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_command_tells_its_version(installed: Installed) -> None:
    declared = tomllib.loads((paths.ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert installed.run("densenet", "--version") == f"densenet {declared}\n"


def test_what_is_read_is_in_the_environment_and_what_is_written_is_not(installed: Installed) -> None:
    program = "from densenet_serving import paths; print(*(getattr(paths, name) for name in {names!r}), sep='\\n')"
    read = ("LABELS", "SERVER_CONFIG", "LOG_CONFIG", "METRICS_CONFIG", "SAMPLE_PHOTO", "HANDLER")
    for path in installed.run("python", "-c", program.format(names=read)).splitlines():
        assert Path(path).exists()
        assert Path(path).is_relative_to(installed.environment)
    written = ("WEIGHTS", "MODEL_STORE", "RUN_DIR")
    for path in installed.run("python", "-c", program.format(names=written)).splitlines():
        assert Path(path).is_relative_to(installed.data)


def test_every_file_that_is_no_module_is_in_the_wheel(installed: Installed) -> None:
    [packages] = installed.environment.glob("lib/python*/site-packages")
    for package in ("handler", "densenet_serving"):
        ours = {path.relative_to(paths.ROOT) for path in (paths.ROOT / package).rglob("*") if path.is_file()}
        for path in ours:
            if path.suffix != ".pyc":
                assert (packages / path).is_file(), f"{path} is not in the wheel"


def test_the_client_can_be_imported(installed: Installed) -> None:
    program = "from densenet_client import Client; print(Client.__module__)"
    assert installed.run("python", "-c", program) == "densenet_client\n"


def test_the_gateway_finds_its_page(installed: Installed) -> None:
    module = "from densenet_serving.gateway import pages"
    program = f"{module}; print(all(path.is_file() for path in pages.files().values()))"
    assert installed.run("python", "-c", program) == "True\n"


def test_an_archive_and_labels_are_made_and_nothing_is_written_beside_the_code(
    installed: Installed, stand_in_archive: Path, precision: Precision | None
) -> None:
    """The archive is the one that is built elsewhere, in another process: equal input gives equal bytes."""
    before = installed.files()
    installed.run("densenet", "archive", "--model", STAND_IN, *(["--precision", precision] if precision else []))
    installed.run("densenet", "labels")
    built = installed.data / "model_store" / stand_in_archive.name
    assert sorted(built.parent.iterdir()) == [built, file_of(built), digest_file(built)]
    here, there = members(stand_in_archive), members(built)
    assert [name for name in here if here[name] != there.get(name)] == []
    assert built.read_bytes() == stand_in_archive.read_bytes()
    assert [path.name for path in installed.folder.iterdir()] == ["index_to_name.json"]
    assert (installed.folder / "index_to_name.json").read_bytes() == paths.LABELS.read_bytes()
    assert installed.files() == before
