"""Let a server answer the requests that it has accepted, then stop it: when `densenet stop` or a signal asks for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

import psutil

from densenet_serving.client.endpoint import Endpoint
from densenet_serving.client.http import Client
from densenet_serving.console import warn
from densenet_serving.errors import CommandError
from densenet_serving.server.gateway import Gateway
from densenet_serving.server.processes import Signals, watch
from densenet_serving.server.torchserve import Server

POLL_SECONDS = 0.1
# Longer than a busy worker's CPU time, counted in ticks of 10 ms, ever stays the same.
REST_SECONDS = 0.5


def supervise(server: Server, gateway: Gateway | None, timeout: float, delay: float = 0) -> None:
    """Stay until SIGTERM, Ctrl-C or the end of the terminal, then end the server and its gateway.

    /readyz says no for `delay` seconds, and then they are drained for `timeout`. A second signal ends both at once.
    Raises CommandError if one of them ended by itself, or if requests were cut off.
    """
    signals = Signals()
    parts = {"TorchServe": server.process} | ({"The gateway": gateway.process} if gateway else {})
    try:
        if ended := watch(parts, signals.end):
            raise CommandError(
                f"{ended} ended by itself, which ends this command: {server.logs} or the lines above say why."
            )
        if gateway:
            gateway.say_not_ready()
        cut_short = gateway is not None and watch(parts, signals.at_once, delay) is not None
        if cut_short or not end(server, gateway, timeout, signals.at_once):
            raise CommandError("The server ended before its last answer.")
    finally:
        if gateway:
            gateway.stop()
        server.stop()


def end(server: Server | None, gateway: Gateway | None, timeout: float, at_once: threading.Event | None = None) -> bool:
    """End what runs after its last answer. The gateway goes first, which asks TorchServe; each has `timeout` seconds.

    Returns whether every accepted request was answered, and says if not.
    """
    cut_off = gateway.stop(timeout, at_once) if gateway else None
    if cut_off is not None:
        warn(f"The gateway was killed before its last answer. Requests that were cut off: {cut_off}.")
        if server:
            server.stop()
        return False
    return stop_gently(server, timeout) if server else True


def stop_gently(server: Server, timeout: float) -> bool:
    """Stop a server after its last answer, or after `timeout` seconds, and say if requests were cut off.

    Returns whether all were answered.
    """
    try:
        queued = drain(server.endpoint, timeout)
        if queued is None:
            return True
        waiting = f"{queued} requests waited for a worker, and workers" if queued else "workers"
        warn(f"After {timeout:.0f} s {waiting} were still at work: what was not answered is cut off.")
    except CommandError as error:
        warn(f"{error} Requests that it has accepted are cut off.")
    finally:
        server.stop()
    return False


def drain(endpoint: Endpoint, seconds: float) -> int | None:
    """Refuse new requests and wait until the accepted ones are answered, at most `seconds`.

    Returns None if they are, and otherwise how many still wait for a worker.

    TorchServe cannot close its inference API alone, so its token is replaced by one that nobody knows: from then on
    a request gets 400 InvalidKeyException. Raises CommandError if the management API does not answer.
    """
    endpoint.tokens().renew("inference")
    client = Client(endpoint)
    models = list(client.models())
    return None if wait_until_idle(client, models, seconds) else survey(client, models)[0]


def wait_until_idle(client: Client, models: Iterable[str], seconds: float, version: str | None = None) -> bool:
    """Wait until nothing is queued for these models, or for one version of them, and their workers are idle.

    TorchServe says what waits for a worker, but not whether a worker is busy; the worker's CPU time does.
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
    """Return the CPU time of a worker; 0 for one that is gone, whose pid TorchServe may give as -1."""
    if pid < 1:
        return 0.0
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)
