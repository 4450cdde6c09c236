"""The ceiling: our decoding and engine in one program without a server, in several arrangements.

`python -m benchmarks.ceiling ARCHIVE SECONDS CORES MAIN_PHOTO [OTHER_PHOTO ...]` prints one line of JSON for each
measurement. The best arrangement on the main photo is the ceiling; it alone then runs on the other photos.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path

from benchmarks.contenders.road import Road
from benchmarks.measure import Tree
from benchmarks.results import percentile
from handler.cores import Threads

BATCHES = (1, 4, 8)
WARM_BATCHES = 3
START_SECONDS = 120
ONE_AT_A_TIME = "one at a time"


@dataclass(frozen=True)
class Measured:
    """`rate` is images per second; percentiles (ms) are those of single images, one after another."""

    variant: str
    photo: str
    rate: float
    cpu_seconds_per_image: float
    memory_bytes: int
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None


def one_at_a_time(archive: Path, cores: int, photo: Path, seconds: float) -> Measured:
    """The latency of one image: decoded, then inferred by all cores."""
    road, data, tree = Road(archive, Threads(cores, cores)), photo.read_bytes(), Tree(os.getpid())

    def classify() -> float:
        began = time.perf_counter()
        road.classify([road.pixels(data)])
        return time.perf_counter() - began

    for _ in range(WARM_BATCHES):
        classify()
    began, cpu = time.perf_counter(), tree.cpu_seconds()
    times = []
    while time.perf_counter() - began < seconds:
        times.append(classify() * 1e3)
    elapsed, used = time.perf_counter() - began, tree.cpu_seconds() - cpu
    times.sort()
    return Measured(
        ONE_AT_A_TIME,
        photo.stem,
        len(times) / elapsed,
        used / len(times),
        tree.memory(),
        percentile(times, 50),
        percentile(times, 95),
        percentile(times, 99),
    )


def decoder_ahead(batch: int, archive: Path, cores: int, photo: Path, seconds: float) -> Measured:
    """One process: a thread decodes ahead while all cores infer."""
    road, data, tree = Road(archive, Threads(cores, cores)), photo.read_bytes(), Tree(os.getpid())
    ready: queue.Queue[object] = queue.Queue(maxsize=2 * batch)
    stopped = threading.Event()

    def decode() -> None:
        while not stopped.is_set():
            ready.put(road.pixels(data))

    decoder = threading.Thread(target=decode, daemon=True)
    decoder.start()

    def infer() -> None:
        road.classify([ready.get() for _ in range(batch)])  # type: ignore[misc]

    try:
        for _ in range(WARM_BATCHES):
            infer()
        began, cpu, images = time.perf_counter(), tree.cpu_seconds(), 0
        while time.perf_counter() - began < seconds:
            infer()
            images += batch
        elapsed, used = time.perf_counter() - began, tree.cpu_seconds() - cpu
    finally:
        stopped.set()
        while decoder.is_alive():  # it may wait for room
            while not ready.empty():
                ready.get()
            decoder.join(0.01)
    name = f"1 process, decoder ahead, {cores} threads, batch {batch}"
    return Measured(name, photo.stem, images / elapsed, used / images, tree.memory())


def process_per_core(batch: int, archive: Path, cores: int, photo: Path, seconds: float) -> Measured:
    """One process a core, each decoding and inferring by turns in a single thread."""
    context = multiprocessing.get_context("spawn")
    barrier, counts = context.Barrier(cores + 1), context.Queue()
    arguments = (batch, archive, photo, seconds, barrier, counts)
    processes = [context.Process(target=_classify_in_turn, args=arguments) for _ in range(cores)]
    for process in processes:
        process.start()
    tree = Tree(os.getpid())
    barrier.wait(START_SECONDS)
    cpu = tree.cpu_seconds()
    rates = [counts.get(timeout=seconds + START_SECONDS) for _ in processes]
    used, memory = tree.cpu_seconds() - cpu, tree.memory()
    barrier.wait(START_SECONDS)  # they stay until they have been measured
    for process in processes:
        process.join()
    images = sum(count for count, _ in rates)
    rate = sum(count / elapsed for count, elapsed in rates)
    return Measured(f"{cores} processes of 1 thread, batch {batch}", photo.stem, rate, used / images, memory)


def _classify_in_turn(
    batch: int,
    archive: Path,
    photo: Path,
    seconds: float,
    barrier: Barrier,
    counts: multiprocessing.Queue[tuple[int, float]],
) -> None:
    road, data = Road(archive, Threads(1, 1)), photo.read_bytes()
    for _ in range(WARM_BATCHES):
        road.classify([road.pixels(data)] * batch)
    barrier.wait(START_SECONDS)
    began, images = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        road.classify([road.pixels(data) for _ in range(batch)])
        images += batch
    counts.put((images, time.perf_counter() - began))
    barrier.wait(START_SECONDS)


Variant = Callable[[Path, int, Path, float], Measured]


def main(archive: Path, seconds: float, cores: int, photo: Path, others: list[Path]) -> None:
    def show(measured: Measured) -> Measured:
        print(json.dumps(asdict(measured)), flush=True)
        return measured

    show(one_at_a_time(archive, cores, photo, seconds))
    variants: list[Variant] = [partial(decoder_ahead, batch) for batch in BATCHES]
    variants += [partial(process_per_core, batch) for batch in BATCHES]
    rates = [show(variant(archive, cores, photo, seconds)).rate for variant in variants]
    best = variants[rates.index(max(rates))]
    for other in others:
        show(best(archive, cores, other, seconds))


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]), [Path(p) for p in sys.argv[5:]])
