"""A start, a photo and a stop where little is as it was where this was written.

Each environment is hostile in several ways at once, since a real server takes seconds to start. The parts of it are
tried alone, and without a server, beside the modules that meet them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from densenet_serving import paths
from densenet_serving.server.torchserve import Server
from tests.e2e.support import one_worker
from tests.pictures import SAMPLE_NAME
from tests.ports import free_port_range

SECONDS = 120
# What a checkout holds of what a start needs.
SOURCES = (
    "handler",
    "densenet_serving",
    "scripts",
    "docs/coffee.jpg",
    "config.properties",
    "index_to_name.json",
    "densenet_client.py",
    "pyproject.toml",
)
# As the console script of that checkout does, which comes first on the path.
START = "import sys; sys.path.insert(0, sys.argv.pop(1)); from densenet_serving.command import main; main()"
DEAD = "127.0.0.1:9"  # nothing answers at the port for discarding
PROXIES = dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"), f"http://{DEAD}")
PROXIES |= dict.fromkeys(("ALL_PROXY", "all_proxy"), f"socks5://{DEAD}") | {"NO_PROXY": "", "no_proxy": ""}
HOSTILE = PROXIES | {"LC_ALL": "xx_XX.UTF-8", "PYTHONPATH": ".", "TMPDIR": "/nowhere", "PYTHONWARNINGS": "error"}


@dataclass(frozen=True)
class Place:
    """A checkout, a home and a current folder, none of them named in ASCII, and what the environment adds."""

    folder: Path

    def run(self, *arguments: str | Path, environment: Mapping[str, str] = HOSTILE) -> subprocess.CompletedProcess[str]:
        """Run densenet from the current folder, without a terminal."""
        return subprocess.run(
            [sys.executable, "-c", START, self.checkout, *arguments],
            cwd=self.folder / "mine",
            env=os.environ | {"HOME": str(self.folder / "home")} | dict(environment),
            umask=0,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )

    @property
    def checkout(self) -> Path:
        return self.folder / "my chéckout"

    @property
    def run_dir(self) -> Path:
        return self.checkout / paths.RUN_DIR.name


@pytest.fixture(scope="module")
def place(stand_in_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    made = Place(tmp_path_factory.mktemp("größe x"))
    for name in SOURCES:
        source, target = paths.ROOT / name, made.checkout / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    shutil.copytree(stand_in_archive.parent, made.checkout / "model_store")
    (made.folder / "home").mkdir()
    netrc = made.folder / "home" / ".netrc"
    netrc.write_text("default login anonymous password me@site\n")
    netrc.chmod(0o600)
    (made.folder / "mine").mkdir()
    for name in ("handler", "densenet_client"):
        (made.folder / "mine" / f"{name}.py").write_text("raise SystemExit('a file of the person')\n")
    return made


@pytest.fixture(scope="module")
def url(place: Place) -> Iterator[str]:
    """The address of a gateway that started there."""
    first = free_port_range(6)
    ports = ("--port", str(first + 5), "--torchserve-port", str(first))
    try:
        done = place.run("web", *ports, "--config", one_worker(place.checkout))
        assert done.returncode == 0, done.stderr
        assert SAMPLE_NAME in done.stdout
        yield f"http://127.0.0.1:{first + 5}"
    finally:
        stopped = place.run("stop")
    assert "Stopped the gateway" in stopped.stderr
    assert Server.find(place.run_dir) is None


@pytest.mark.parametrize(("way", "environment"), [("TorchServe", HOSTILE), ("gateway", {"LC_ALL": "C"})])
def test_a_photo_gets_its_name(place: Place, url: str, way: str, environment: dict[str, str]) -> None:
    options = {"TorchServe": [], "gateway": ["--url", url]}[way]
    done = place.run("classify", place.checkout / "docs" / "coffee.jpg", *options, environment=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["class_name"] == SAMPLE_NAME


def test_nobody_else_may_write_into_the_run_folder(place: Place, url: str) -> None:
    open_to_others = [path for path in (place.run_dir, *place.run_dir.rglob("*")) if path.stat().st_mode & 0o022]
    assert open_to_others == []
