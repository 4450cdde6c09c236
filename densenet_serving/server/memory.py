"""Refuse to start more workers than the memory holds: the kernel would kill one after the other, without a word."""

from __future__ import annotations

from densenet_serving.client.http import Client
from densenet_serving.errors import CommandError
from densenet_serving.server import heap

# What TorchServe with DenseNet-121 takes under load: 593 MB with one worker, 969 MB with two and 1,646 MB with four
# (benchmarks/results/latest.md), so 350 MB at least for each worker, and 220 MB for the JVM. Its two
# decoder processes take 42 MB each, of which they share a half.
JVM_BYTES = 220_000_000
WORKER_BYTES = 400_000_000
MEGABYTE = 1_000_000


def check_memory_for_more(client: Client, more: int) -> None:
    """Raise CommandError if there is less memory than the workers of a running server take with `more` of them."""
    if more > 0:
        there = sum(one["minWorkers"] for model in client.models() for one in client.versions(model))
        check_memory(there + more)


def check_memory(workers: int) -> None:
    """Raise CommandError if this machine or container has less memory than so many workers take."""
    needed, there = JVM_BYTES + workers * WORKER_BYTES, heap.memory()
    if workers and needed > there:
        raise CommandError(
            f"TorchServe with {workers} worker{'s' if workers > 1 else ''} takes {needed // MEGABYTE} MB of memory, "
            f"and there are {there // MEGABYTE} MB: give it more, or fewer workers (default_workers_per_model in "
            "config.properties, or minWorkers and maxWorkers in the archive's model-config.yaml)."
        )
