"""Hand the chunks that are left to workers on every core, and report each as it is done."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from densenet_serving.bulk.job import Job
from densenet_serving.bulk.manifest import Chunk
from densenet_serving.bulk.parts import Done
from densenet_serving.bulk.worker import Worker
from densenet_serving.errors import CommandError, reason_of

# A chunk whose worker dies is given to another so many times: a photo that kills every worker ends the run.
RETRIES = 2
RESUME = "once that is repaired, run the same command to resume."


def classify(job: Job, left: Sequence[Chunk], archive: Path, most_workers: int | None) -> Iterator[Done]:
    """Yield each chunk when its part is written, in any order. Ray must be connected.

    Raises CommandError, naming the cause, if a chunk cannot be done.
    """
    import ray
    from ray.data import ActorPoolStrategy, DataContext

    DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # an error ends the run, and is told as a sentence
    cores = int(ray.cluster_resources().get("CPU", 1))
    workers = max(1, min(most_workers or cores, cores, len(left)))
    rows = [{"first": chunk.first, "count": chunk.count} for chunk in left]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # until 2.64, ray_remote_args_fn is the one way to bound the retries
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
            if row["failure"]:
                raise CommandError(f"{job.output} cannot be written ({row['failure']}): {RESUME}")
            yield Done(int(row["first"]), int(row["rows"]), int(row["errors"]))
    except ray.exceptions.RayError as error:
        raise CommandError(f"The workers could not go on ({reason_of(error)}): {RESUME}") from error
