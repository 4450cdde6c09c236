"""The contenders, each of which classifies the photos once."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path

from benchmarks import peers
from benchmarks.bulk.ray_hosts import ray_hosts
from benchmarks.contenders.road import Road
from densenet_serving import paths
from densenet_serving.errors import CommandError
from handler.cores import Threads

BATCH = 8  # benchmarks/ceiling.py: more are not faster in one thread
START_SECONDS = 120
SLOW = {"classify": 5, "torch": 10, "daft": 10, "one-host": 5, "two-hosts": 5}  # they classify one photo in so many
HAS_DAFT = "import importlib.util, sys; sys.exit(importlib.util.find_spec('daft') is None)"


@dataclass(frozen=True)
class Paced:
    """`seconds` are from the start of the program to its end, `working` those in which it classified."""

    name: str
    photos: int
    seconds: float
    working: float | None = None

    @property
    def rate(self) -> float:
        return self.photos / self.seconds

    @property
    def working_rate(self) -> float | None:
        return self.photos / self.working if self.working else None


@dataclass(frozen=True)
class Task:
    folder: Path
    photos: list[Path]
    store: Path
    unpacked: Path
    checkpoint: Path
    cores: int


def no_server(task: Task) -> Paced:
    """Our decoding and engine alone: a process a core, which reads a file, decodes and infers in turn."""
    began = time.perf_counter()
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(task.cores + 1)
    shares = [task.photos[i :: task.cores] for i in range(task.cores)]
    processes = [context.Process(target=_classify, args=(task.unpacked, share, barrier)) for share in shares]
    for process in processes:
        process.start()
    barrier.wait(START_SECONDS)
    ready = time.perf_counter()
    for process in processes:
        process.join()
    end = time.perf_counter()
    return Paced("no-server", len(task.photos), end - began, end - ready)


def _classify(archive: Path, photos: list[Path], barrier: Barrier) -> None:
    road = Road(archive, Threads(1, 1))
    for rows in (1, BATCH):
        road.classify([road.pixels(photos[0].read_bytes())] * rows)
    barrier.wait(START_SECONDS)
    for i in range(0, len(photos), BATCH):
        road.classify([road.pixels(photo.read_bytes()) for photo in photos[i : i + BATCH]])


def bulk(task: Task) -> Paced:
    return run_bulk(task, "bulk", task.folder)


def run_bulk(
    task: Task,
    name: str,
    folder: Path,
    pinned: Sequence[str] = (),
    options: Sequence[str] = (),
    token: Mapping[str, str] | None = None,
) -> Paced:
    """Run the command. It works from its first chunk to its last: of the first, the worker's start is not known."""
    mar = next(task.store.glob("*.mar"))
    output = task.folder.with_name(f"out-{name}")
    command: list[str | Path] = [*pinned, sys.executable, "-m", "scripts.bulk", folder, output]
    command += ["--archive", mar, "--json", *options]
    began = time.perf_counter()
    variables = {**environment(task), **(token or {})}
    process = subprocess.Popen(command, cwd=paths.ROOT, env=variables, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    told = [(time.perf_counter(), json.loads(line)["done"]) for line in process.stdout]
    if process.wait():
        raise CommandError("densenet bulk failed: see above.")
    seconds = time.perf_counter() - began
    (first, before), (last, after) = told[0], told[-2]  # the last line is the summary
    working = (last - first) * after / (after - before)
    return Paced(name, after, seconds, working)


def one_host(task: Task) -> Paced:
    return hosts(task, "one-host", 1)


def two_hosts(task: Task) -> Paced:
    return hosts(task, "two-hosts", 2)


def hosts(task: Task, name: str, number: int) -> Paced:
    """Run the command on hosts with one core each. It shares its core with the worker of the first."""
    folder = sample(task, name)
    with ray_hosts(number, task.folder.with_name(name), environment(task)) as (address, token):
        return run_bulk(task, name, folder, ["taskset", "--cpu-list", "0"], ["--address", address], token)


def classify(task: Task) -> Paced:
    """`densenet classify` on the folder, with a server that runs already."""
    folder = sample(task, "classify")
    run_dir = task.folder.with_name("run")
    serve: list[str | Path] = [sys.executable, "-m", "scripts.serve", "--model-store", task.store, "--run-dir", run_dir]
    subprocess.run(serve, cwd=paths.ROOT, check=True, capture_output=True)
    try:
        return timed(task, "classify", folder, ["-m", "scripts.classify", folder, "--csv", "--run-dir", run_dir])
    finally:
        stop: list[str | Path] = [sys.executable, "-m", "scripts.stop", "--run-dir", run_dir]
        subprocess.run(stop, cwd=paths.ROOT, check=True, capture_output=True)


def torch_loop(task: Task) -> Paced:
    return program(task, "torch", Path(sys.executable))


def daft(task: Task) -> Paced | None:
    """Return nothing if Daft is neither here nor among the peers."""
    for python in (Path(sys.executable), peers.BIN / "python"):
        if python.exists() and subprocess.run([python, "-c", HAS_DAFT]).returncode == 0:
            return program(task, "daft", python)
    return None


def program(task: Task, name: str, python: Path) -> Paced:
    folder, output = sample(task, name), task.folder.with_name(f"out-{name}")
    arguments: list[str | Path] = ["-m", f"benchmarks.contenders.bulk_{name}", folder, output, str(task.cores)]
    return timed(task, name, folder, arguments, python)


def timed(
    task: Task, name: str, folder: Path, arguments: list[str | Path], python: Path = Path(sys.executable)
) -> Paced:
    began = time.perf_counter()
    done = subprocess.run([python, *arguments], cwd=paths.ROOT, env=environment(task), capture_output=True, text=True)
    if done.returncode:
        raise CommandError(f"{name} failed: {done.stderr.strip()[-500:]}")
    return Paced(name, len(list(folder.iterdir())), time.perf_counter() - began)


def environment(task: Task) -> dict[str, str]:
    return dict(os.environ) | {"PYTHONPATH": str(paths.ROOT), "CHECKPOINT": str(task.checkpoint)}


def sample(task: Task, name: str) -> Path:
    """Make a folder with a part of the photos, of all sizes."""
    folder = task.folder.with_name(f"sample-{name}")
    folder.mkdir()
    for i, photo in enumerate(task.photos[: len(task.photos) // SLOW[name]]):
        (folder / f"{i:06d}.jpg").hardlink_to(photo)
    return folder


CONTENDERS: dict[str, Callable[[Task], Paced | None]] = {
    "no-server": no_server,
    "bulk": bulk,
    "classify": classify,
    "torch": torch_loop,
    "daft": daft,
    "one-host": one_host,
    "two-hosts": two_hosts,
}
