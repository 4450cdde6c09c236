"""Hand the chunks that are left to workers on every core, and report each as it is done."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from scripts.batch.job import Job
from scripts.batch.manifest import Chunk
from scripts.batch.parts import Done
from scripts.batch.worker import Worker
from scripts.errors import CommandError

# A chunk whose worker dies is given to another so many times: a photo that kills every worker ends the run.
RETRIES = 2


def classify(job: Job, left: Sequence[Chunk], archive: Path, most_workers: int | None) -> Iterator[Done]:
    """Yield each chunk when its part is written, in any order. Ray must be connected.

    Raises CommandError, naming the cause, if a chunk cannot be done.
    """
    import ray
    from ray.data import ActorPoolStrategy, DataContext

    _quieten(DataContext.get_current())
    cores = int(ray.cluster_resources().get("CPU", 1))
    workers = max(1, min(most_workers or cores, cores, len(left)))
    rows = [{"first": chunk.first, "count": chunk.count} for chunk in left]
    reports = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        Worker,
        fn_constructor_args=(job, ray.put(archive.read_bytes())),
        batch_size=1,
        compute=ActorPoolStrategy(min_size=1, max_size=workers, initial_size=workers),
        num_cpus=1,
        ray_remote_args_fn=lambda: {"max_restarts": -1, "max_task_retries": RETRIES},
    )
    try:
        for row in reports.iter_rows():
            yield Done(int(row["first"]), int(row["rows"]), int(row["errors"]))
    except ray.exceptions.RayError as error:
        raise CommandError(f"The workers could not go on ({_cause(error)}): run the same command to resume.") from error


def _quieten(context: object) -> None:
    context.enable_progress_bars = False  # type: ignore[attr-defined]
    context.print_on_execution_start = False  # type: ignore[attr-defined]
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "ERROR")


def _cause(error: Exception) -> str:
    """Return the last line of what Ray says, which is the exception of the worker itself."""
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
