"""How much memory TorchServe's JVM may take: by itself it takes a quarter of the machine's, and keeps it.

The JVM only passes bytes on, but it holds each body several times: as it arrives, as one array, and as the message to
the worker. A queue full of the largest requests would be COPIES x job_queue_size x max_request_size, 12.5 GiB with
config.properties' 100 requests of 32 MiB. No more than that is ever of use, and no machine should give it that much:

    heap = min(COPIES x job_queue_size x max_request_size, max(COPIES x 2 x max_request_size, memory / SHARE))

which is 256 MiB on machines of up to 4 GiB, two of the largest requests at a time, and 1 GiB with 16 GiB. The JVM
allows itself as much again for buffers outside the heap (the default of MaxDirectMemorySize is the heap's size), so
that it takes an eighth of the memory in all. A request for which there is no room costs its connection, no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import psutil

COPIES = 4
SHARE = 16
FEWEST_REQUESTS = 2
MEBIBYTE = 2**20
# Of TorchServe itself, where the settings name none.
DEFAULT_QUEUE = 100
DEFAULT_REQUEST_BYTES = 6_553_500
# Version 2's and version 1's: the limit of the container in which this process runs.
CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def bounded(settings: Mapping[str, str]) -> str:
    """Return the settings' vmargs with a limit of the heap, unless they bring one of their own."""
    arguments = settings.get("vmargs", "").split()
    if any(argument.startswith("-Xmx") for argument in arguments):
        return settings["vmargs"]
    queue = int(settings.get("job_queue_size", DEFAULT_QUEUE))
    request = int(settings.get("max_request_size", DEFAULT_REQUEST_BYTES))
    return " ".join([*arguments, f"-Xmx{size_of(memory(), queue, request) // MEBIBYTE}m"])


def size_of(memory: int, queue: int, request: int) -> int:
    """Compute the heap for so much memory, a queue of so many requests and the largest request; all in bytes."""
    return min(COPIES * queue * request, max(COPIES * FEWEST_REQUESTS * request, memory // SHARE))


def memory() -> int:
    """Return the bytes that this process may count on: the machine's, or less where its cgroup says so."""
    limits = [int(text) for path in CGROUP_LIMITS if (text := _read(path)).isdecimal()]
    return min([psutil.virtual_memory().total, *limits])


def _read(path: Path) -> str:
    return path.read_text().strip() if path.is_file() else ""
