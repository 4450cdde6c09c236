"""Limit the memory of TorchServe's JVM: without a limit it takes a quarter of the machine's, and keeps it.

The JVM only passes bytes on, but it holds each body several times: as it arrives, as one array, and as the message to
the worker. A queue full of the largest requests takes COPIES x job_queue_size x max_request_size, 12.5 GiB with the
100 requests of 32 MiB in config.properties. More than that is never useful, and most machines should give it less:

    heap = min(COPIES x job_queue_size x max_request_size, max(COPIES x 2 x max_request_size, memory / SHARE))

which is 256 MiB on machines of up to 4 GiB, two of the largest requests at a time, and 1 GiB with 16 GiB. The JVM
allows itself as much again for buffers outside the heap (the default of MaxDirectMemorySize is the heap's size), so
that it takes an eighth of the memory in all. A request that does not fit loses its connection and disturbs no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import psutil

from densenet_serving.properties import DEFAULT_QUEUE, DEFAULT_REQUEST_BYTES

COPIES = 4
SHARE = 16
FEWEST_REQUESTS = 2
MEBIBYTE = 2**20
# The memory limit of the container in which this process runs, in cgroup v2 and in v1.
CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def bounded(settings: Mapping[str, str]) -> str:
    """Return the settings' vmargs with a limit of the heap, unless they already have one."""
    arguments = settings.get("vmargs", "").split()
    if any(argument.startswith("-Xmx") for argument in arguments):
        return settings["vmargs"]
    queue = int(settings.get("job_queue_size", DEFAULT_QUEUE))
    request = int(settings.get("max_request_size", DEFAULT_REQUEST_BYTES))
    return " ".join([*arguments, f"-Xmx{size_of(memory(), queue, request) // MEBIBYTE}m"])


def size_of(memory: int, queue: int, request: int) -> int:
    """Return the heap size in bytes for `memory` bytes and a queue of `queue` requests of up to `request` bytes."""
    return min(COPIES * queue * request, max(COPIES * FEWEST_REQUESTS * request, memory // SHARE))


def memory() -> int:
    """Return the bytes of memory that this process may use: the machine's, or its cgroup's limit if that is less."""
    limits = [int(text) for path in CGROUP_LIMITS if (text := _read(path)).isdecimal()]
    return min([psutil.virtual_memory().total, *limits])


def _read(path: Path) -> str:
    return path.read_text().strip() if path.is_file() else ""
