"""How many photos a second `densenet bulk` classifies, beside the same without Ray and what people write instead.

python -m benchmarks.bulk [--photos 5000] [--of PHOTOS.tar] [--only no-server,bulk]

All have the same DenseNet-121 and run one after another, the slow ones on a part of the photos. Prints a table, and
JSON in a pipe.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image, ImageOps
from rich.table import Table

from benchmarks import machine, material
from benchmarks.contenders.road import Road
from benchmarks.material import JPEG_QUALITY, parse_size
from handler.cores import Threads, available_cores
from scripts import paths
from scripts.console import note, out, run
from scripts.errors import CommandError

BATCH = 8  # benchmarks/ceiling.py: more are not faster in one thread
# Of ten photos, six as ImageNet's are on average, three of a web page and one of a camera, made smaller.
SIZES = ("500x375",) * 6 + ("1024x768",) * 3 + ("1600x1200",)
DISTINCT = 500
START_SECONDS = 120
SLOW = {"classify": 5, "torch": 10}  # they classify one photo in so many


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


def make_photos(number: int, folder: Path, of: Path | None) -> list[Path]:
    """Write photos of SIZES; the same few hundred again under other names."""
    from skimage import data

    sources = list(islice(members(of), DISTINCT)) if of else [Image.fromarray(data.astronaut())]
    made: list[Path] = []
    for i, source in zip(range(min(number, DISTINCT)), cycle(sources), strict=False):
        photo = ImageOps.fit(source, parse_size(SIZES[i % len(SIZES)]), Image.Resampling.LANCZOS)
        made.append(folder / f"{i:06d}.jpg")
        photo.save(made[-1], quality=JPEG_QUALITY)
    for i in range(len(made), number):
        path = folder / f"{i:06d}.jpg"
        path.hardlink_to(made[i % DISTINCT])
        made.append(path)
    return made


def members(shard: Path) -> Iterator[Image.Image]:
    with tarfile.open(shard) as tar:
        for member in tar:
            if file := tar.extractfile(member):
                yield Image.open(io.BytesIO(file.read())).convert("RGB")


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


def bulk(task: Task, name: str = "bulk", options: tuple[str, ...] = ()) -> Paced:
    """The command. It works from its first chunk to its last: of the first, the worker's start is not known."""
    mar = next(task.store.glob("*.mar"))
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "scripts.bulk",
        task.folder,
        task.folder.with_name(f"out-{name}"),
        "--archive",
        mar,
        "--json",
        *options,
    ]
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=paths.ROOT, env=environment(task), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    told = [(time.perf_counter(), json.loads(line)["done"]) for line in process.stdout]
    if process.wait():
        raise CommandError("densenet bulk failed: see above.")
    seconds = time.perf_counter() - began
    (first, before), (last, after) = told[0], told[-2]  # the last line is the summary
    working = (last - first) * after / (after - before)
    return Paced(name, after, seconds, working)


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
    folder = sample(task, "torch")
    program: list[str | Path] = [
        "-m",
        "benchmarks.contenders.bulk_torch",
        folder,
        task.folder.with_name("out.csv"),
        str(task.cores),
    ]
    return timed(task, "torch", folder, program)


def timed(task: Task, name: str, folder: Path, arguments: list[str | Path]) -> Paced:
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments], cwd=paths.ROOT, env=environment(task), capture_output=True, text=True
    )
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


CONTENDERS: dict[str, Callable[[Task], Paced]] = {
    "no-server": no_server,
    "bulk": bulk,
    "classify": classify,
    "torch": torch_loop,
}


def main(
    photos: Annotated[int, typer.Option(min=100, help="How many.")] = 5_000,
    of: Annotated[Path | None, typer.Option(help="A .tar of photos to resize, instead of a packaged one.")] = None,
    only: Annotated[str, typer.Option(help=f"Of {', '.join(CONTENDERS)}.")] = ",".join(CONTENDERS),
) -> None:
    """Measure each contender once, one after another."""
    if unknown := set(only.split(",")) - set(CONTENDERS):
        raise CommandError(f"There is no {', '.join(sorted(unknown))}: choose among {', '.join(CONTENDERS)}.")
    with tempfile.TemporaryDirectory(prefix="bulk-") as temporary:
        task = prepare(photos, of, Path(temporary))
        results = []
        for name in only.split(","):
            note(f"Measuring {name}")
            results.append(CONTENDERS[name](task))
            note(f"{results[-1]}")
    if not out.is_terminal:
        facts = {"machine": machine.describe(), "commit": machine.commit(), "results": list(map(asdict, results))}
        print(json.dumps(facts, indent=2))
        return
    out.print(table_of(results))


def prepare(photos: int, of: Path | None, temporary: Path) -> Task:
    note("Making the photos and the archive")
    folder = temporary / "photos"
    folder.mkdir()
    made = make_photos(photos, folder, of)
    material.BUILD.mkdir(parents=True, exist_ok=True)
    checkpoint = material.make_checkpoint(material.BUILD / "checkpoint.pth")
    store = temporary / "model_store"
    unpacked = material.make_archive(checkpoint, store, temporary / "unpacked", None)
    return Task(folder, made, store, unpacked, checkpoint, available_cores())


def table_of(results: list[Paced]) -> Table:
    table = Table("Contender", "Photos", "Photos/s", "Photos/s without start", box=None)
    for result in results:
        working = f"{result.working_rate:.1f}" if result.working_rate else "-"
        table.add_row(result.name, f"{result.photos:,}", f"{result.rate:.1f}", working)
    return table


if __name__ == "__main__":
    run(main)
