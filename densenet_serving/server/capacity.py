"""How much memory there is, how much of it TorchServe's JVM gets, and how many workers it holds.

The JVM only passes bytes on, but holds each body several times: as it arrives, as one array, and as the message to the
worker. docs/decisions.md derives its heap, of which there is as much again outside it (MaxDirectMemorySize).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import psutil

from densenet_serving.client.http import Client
from densenet_serving.errors import CommandError
from densenet_serving.files import MEGABYTE
from densenet_serving.properties import DEFAULT_QUEUE, DEFAULT_REQUEST_BYTES

COPIES = 4
SHARE = 16
FEWEST_REQUESTS = 2
MEBIBYTE = 2**20
# The memory limit of the container in which this process runs, in cgroup v2 and in v1.
CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
# What TorchServe with DenseNet-121 takes under load: 593 MB with one worker, 969 MB with two and 1,646 MB with four
# (benchmarks/results/latest.md), so 350 MB at least for each worker, and 220 MB for the JVM. Its two
# decoder processes take 42 MB each, of which they share a half.
JVM_BYTES = 220_000_000
WORKER_BYTES = 400_000_000


def memory() -> int:
    """Return the bytes of memory that this process may use: the machine's, or its cgroup's limit if that is less."""
    texts = [path.read_text().strip() for path in CGROUP_LIMITS if path.is_file()]
    return min([psutil.virtual_memory().total, *(int(text) for text in texts if text.isdecimal())])


def with_heap_limit(settings: Mapping[str, str]) -> str:
    """Return the settings' vmargs with a limit of the heap, unless they already have one."""
    arguments = settings.get("vmargs", "").split()
    if any(argument.startswith("-Xmx") for argument in arguments):
        return settings["vmargs"]
    queue = int(settings.get("job_queue_size", DEFAULT_QUEUE))
    request = int(settings.get("max_request_size", DEFAULT_REQUEST_BYTES))
    return " ".join([*arguments, f"-Xmx{heap_bytes(memory(), queue, request) // MEBIBYTE}m"])


def heap_bytes(memory: int, queue: int, request: int) -> int:
    """Return the heap size in bytes for `memory` bytes and a queue of `queue` requests of up to `request` bytes.

    More than a full queue takes is never useful, and two of the largest requests at a time have to fit.
    """
    return min(COPIES * queue * request, max(COPIES * FEWEST_REQUESTS * request, memory // SHARE))


def check_memory_for_more(client: Client, more: int) -> None:
    """Raise CommandError if there is less memory than the workers of a running server take with `more` of them."""
    if more > 0:
        there = sum(one["minWorkers"] for model in client.models() for one in client.versions(model))
        check_memory(there + more)


def check_memory(workers: int) -> None:
    """Raise CommandError if this machine or container has less memory than so many workers take.

    The kernel would kill one after the other, without a word.
    """
    needed, there = JVM_BYTES + workers * WORKER_BYTES, memory()
    if workers and needed > there:
        raise CommandError(
            f"TorchServe with {workers} worker{'s' if workers > 1 else ''} takes {needed // MEGABYTE} MB of memory, "
            f"and there are {there // MEGABYTE} MB: give it more, or fewer workers (default_workers_per_model in "
            "config.properties, or minWorkers and maxWorkers in the archive's model-config.yaml)."
        )
