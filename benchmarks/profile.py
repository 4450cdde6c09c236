"""Where a request's CPU time goes: TorchServe's Java front by thread, the workers by stage of the road.

python -m benchmarks.profile [--clients 32] [--seconds 10]
"""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from benchmarks import lineup, load, material, peers, service
from benchmarks.load import Target
from benchmarks.measure import Tree
from benchmarks.rounds import WARM_CLIENTS, WARM_SECONDS
from benchmarks.service import Place, Running
from densenet_serving.console import err, out, run
from handler.cores import Threads, available_cores, default_workers

SIZE = "720x720"
BATCH = 4  # batchSize in model-config.yaml
FRONT, WORKERS = "front (JVM)", "workers"

# Linux cuts a thread's name after 15 characters; numbers tell threads of one kind apart.
KINDS = {
    "epollEventLoop": "network",
    "W-": "batching",
    "C1 Compiler": "compiler",
    "C2 Compiler": "compiler",
    "VM Thread": "garbage collection",
    "GC ": "garbage collection",
}

Row = tuple[str, str, float]


def profile(
    clients: Annotated[int, typer.Option(min=1, help="Closed loop of so many clients.")] = 32,
    seconds: Annotated[float, typer.Option(min=1, help="Length of each of the two measurements.")] = 10,
) -> None:
    """Print milliseconds of CPU a request, by part."""
    load.check_tools()
    with err.status("Preparing"):
        made = material.prepare([SIZE], available_cores(), int8=False, progress=lambda _: None)
    with err.status(f"Loading the server with {clients} clients for {seconds:g} s"):
        front, workers, rate = loaded(made, clients, seconds)
    with err.status(f"Timing the stages alone for {seconds:g} s"):
        stages = timed(made, seconds)
    rest = ("TorchServe's worker loop, parsing, labels", workers - sum(stages.values()))
    rows = [(FRONT, part, ms) for part, ms in front.items()]
    rows += [(WORKERS, part, ms) for part, ms in (*stages.items(), rest)]
    show(sorted(rows, key=lambda row: -row[2]), rate)


def loaded(made: material.Material, clients: int, seconds: float) -> tuple[dict[str, float], float, float]:
    """Load the server; returns ms of CPU a request of the front by kind of thread, of the workers, and requests/s."""
    photo = made.photos[SIZE]
    place = Place(material.BUILD / "run" / "profile", service.free_ports(), made, peers.BIN, available_cores())
    running = lineup.ours(place)
    try:
        service.wait_for_answer(running, lambda: target(running, photo))
        load.closed(target(running, photo), WARM_CLIENTS, WARM_SECONDS)
        before = thread_times(running.tree)
        figures = load.closed(target(running, photo), clients, seconds)
        after = thread_times(running.tree)
    finally:
        running.stop()
    used = {part: 1e3 * (after[part] - before.get(part, 0)) / figures.requests for part in after}
    workers = used.pop(WORKERS)
    return used, workers, figures.rate


def target(running: Running, photo: Path) -> Target:
    return Target(running.url, photo, {"Content-Type": "image/jpeg"} | running.headers())


def thread_times(tree: Tree) -> dict[str, float]:
    """Seconds of CPU so far, by kind of the front's threads and of all workers together (Linux' /proc)."""
    tick = os.sysconf("SC_CLK_TCK")
    times: dict[str, float] = {}
    for process in tree.processes():
        is_worker = any("model_service_worker" in argument for argument in process.cmdline())
        for thread in Path(f"/proc/{process.pid}/task").iterdir():
            part = WORKERS if is_worker else kind_of((thread / "comm").read_text())
            fields = (thread / "stat").read_text().rpartition(")")[2].split()
            times[part] = times.get(part, 0) + (int(fields[11]) + int(fields[12])) / tick  # utime + stime
    return times


def kind_of(thread: str) -> str:
    return next((kind for start, kind in KINDS.items() if thread.startswith(start)), "other threads")


def timed(made: material.Material, seconds: float) -> dict[str, float]:
    """Time the stages without a server, in as many processes as there are workers, so that they share the cores."""
    count = default_workers()
    with ProcessPoolExecutor(count, multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(time_stages, made.unpacked, made.photos[SIZE], seconds) for _ in range(count)]
        results = [job.result() for job in jobs]
    return {stage: sum(result[stage] for result in results) / count for stage in results[0]}


def time_stages(archive: Path, photo: Path, seconds: float) -> dict[str, float]:
    """Milliseconds of CPU an image takes in each stage, in this process."""
    from benchmarks.contenders.road import Road
    from handler.images import decode
    from handler.preprocessing import preprocess

    road = Road(archive, Threads(1, 1))
    spec = road.card.preprocessing
    data = photo.read_bytes()
    used = dict.fromkeys(("decode", "resize and crop", "inference"), 0.0)
    images = 0
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        marks = [time.process_time()]
        decoded = [decode(data, road.settings, spec.resize) for _ in range(BATCH)]
        marks.append(time.process_time())
        pixels = [preprocess(image, spec) for image in decoded]
        marks.append(time.process_time())
        road.engine.infer(np.stack(pixels))
        marks.append(time.process_time())
        for stage, (began, ended) in zip(used, pairwise(marks), strict=True):
            used[stage] += ended - began
        images += BATCH
    return {stage: 1e3 * spent / images for stage, spent in used.items()}


def show(rows: list[Row], rate: float) -> None:
    if not out.is_terminal:
        parts = [dict(zip(("of", "part", "cpu_ms"), row, strict=True)) for row in rows]
        out.print_json(json.dumps({"requests_per_second": rate, "parts": parts}))
        return
    total = sum(ms for *_, ms in rows)
    table = Table("of", "part", "CPU ms a request", "share", title=f"{rate:.1f} requests/s", box=None)
    for of, part, ms in rows:
        table.add_row(of, part, f"{ms:.2f}", f"{ms / total:.1%}")
    out.print(table)


if __name__ == "__main__":
    run(profile)
