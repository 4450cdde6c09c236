"""Let a server finish what it has accepted before it is stopped."""

from __future__ import annotations

import time
from collections.abc import Iterable

import psutil

from scripts.client.endpoint import Endpoint
from scripts.client.http import Client

POLL_SECONDS = 0.1
# A worker that infers uses CPU time, counted in ticks of 10 ms, in every such interval.
REST_SECONDS = 0.5


def drain(endpoint: Endpoint, seconds: float) -> bool:
    """Refuse new requests and wait until those accepted are answered; tells whether that took less than `seconds`.

    TorchServe cannot close its inference API alone, so its token is replaced by one that nobody knows: from then on
    a request gets 400 InvalidKeyException. Raises CommandError where the management API does not answer.
    """
    endpoint.replace_token("inference")
    client = Client(endpoint)
    return wait_until_idle(client, client.models(), seconds)


def wait_until_idle(client: Client, models: Iterable[str], seconds: float, version: str | None = None) -> bool:
    """Wait until nothing is queued for these models, or for one version of them, and their workers rest.

    TorchServe tells what waits for a worker, but not what a worker has taken; the worker's own CPU time does.
    """
    models = list(models)
    deadline = time.monotonic() + seconds
    before, changed = None, time.monotonic()
    while time.monotonic() < deadline:
        queued, work = survey(client, models, version)
        if queued or work != before:
            before, changed = work, time.monotonic()
        elif time.monotonic() - changed >= REST_SECONDS:
            return True
        time.sleep(POLL_SECONDS)
    return False


def survey(client: Client, models: list[str], version: str | None = None) -> tuple[int, dict[int, float]]:
    """Return how many requests wait for a worker, and the CPU seconds each worker has used so far."""
    described = [one for model in models for one in client.versions(model) if version in (None, one["modelVersion"])]
    queued = sum(one["jobQueueStatus"]["pendingRequests"] for one in described)
    return queued, {worker["pid"]: cpu_seconds(worker["pid"]) for one in described for worker in one["workers"]}


def cpu_seconds(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)
