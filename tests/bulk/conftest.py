"""A model that takes no time, a store, a run of the command in a process of its own, and what it wrote."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from densenet_serving import paths
from tests.bulk.hosts import STORE_ACCESS, TOKEN, one_machine

TIMEOUT_SECONDS = 120
ENVIRONMENT = dict(os.environ) | {"PYTHONPATH": str(paths.ROOT)}

# It answers with the length of the photo. A photo of the word `slow` takes a while; `deadly` ends the worker, once.
HANDLER = """
import json, os, pathlib, time

class Lengths:
    def initialize(self, context):
        self.folder = context.system_properties["model_dir"]

    def handle(self, rows, context):
        return [self.answer(row["body"]) for row in rows]

    def answer(self, photo):
        if photo.startswith(b"slow"):
            time.sleep(0.02)
        if photo.startswith(b"deadly"):
            there = pathlib.Path(photo.decode().split()[1])
            if not there.exists():
                there.touch()
                os._exit(1)
        if not photo:
            return json.dumps({"code": 400, "type": "BadRequestException", "message": "The photo is empty."}).encode()
        names = {"class_id": f"n{len(photo)}", "class_name": "length", "probability": 0.5, "recognized": True}
        return json.dumps(names).encode()
"""


@pytest.fixture(scope="session", autouse=True)
def access() -> Iterator[None]:
    """Let this process use the store."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in STORE_ACCESS.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def lengths(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive in TorchServe's form that holds no network."""
    path = tmp_path_factory.mktemp("lengths") / "lengths.mar"
    manifest = {"model": {"modelName": "lengths", "modelVersion": "1.0", "handler": "lengths.py"}}
    with zipfile.ZipFile(path, "w") as mar:
        mar.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
        mar.writestr("lengths.py", HANDLER)
    return path


def make_photos(folder: Path, number: int, content: bytes) -> Path:
    folder.mkdir(parents=True)
    for i in range(number):
        (folder / f"{i:05d}.jpg").write_bytes(content)
    return folder


def command(source: Path | str, output: Path | str, archive: Path, *options: str) -> list[str]:
    """Return the command line with two workers at most, since other tests run beside these."""
    given = [str(source), str(output), "--archive", str(archive), "--workers", "2", "--json", *options]
    return [sys.executable, "-m", "scripts.bulk", *given]


Bulk = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def ray_address() -> Iterator[str]:
    """A Ray for all tests, since starting one takes longer than a test."""
    short = tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)  # as a socket's path has to be
    with short as folder, one_machine(Path(folder), ENVIRONMENT) as address:
        yield address


@pytest.fixture
def bulk(lengths: Path, ray_address: str) -> Bulk:
    """Run densenet bulk to its end, on the Ray that runs already.

    Not in the tests' process, which Ray ends if one of its threads is still busy when the command lets it go.
    """

    def run(
        source: Path | str, output: Path | str, *options: str, archive: Path = lengths
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(source, output, archive, "--address", ray_address, *options),
            cwd=paths.ROOT,
            env=ENVIRONMENT | TOKEN | STORE_ACCESS,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
        )

    return run


@pytest.fixture(scope="session")
def store() -> Iterator[str]:
    """The query of a URI into a store that speaks like S3, moto's on loopback, with the bucket `bucket`."""
    from moto.server import ThreadedMotoServer
    from pyarrow import fs

    running = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    query = f"?scheme=http&endpoint_override={host}:{port}"
    file_system, _ = fs.FileSystem.from_uri(f"s3://bucket{query}&allow_bucket_creation=true")
    file_system.create_dir("bucket")
    yield query
    running.stop()


def rows(output: Path | str) -> list[dict[str, Any]]:
    """All rows, in the order of the photos' numbers."""
    import pyarrow.parquet as pq

    from densenet_serving.bulk.filesystems import locate

    file_system, path = locate(str(output))
    found: list[dict[str, Any]] = pq.read_table(path, filesystem=file_system).to_pylist()
    return sorted(found, key=lambda row: int(row["id"]))
