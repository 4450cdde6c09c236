"""The unit that scales: one TorchServe and its gateway, in the foreground. Neither is left without the other."""

from __future__ import annotations

import threading
from pathlib import Path

from densenet_serving.errors import ServingError
from densenet_serving.server.drain import say_cut_off, stop_gently
from densenet_serving.server.gateway import Gateway
from densenet_serving.server.supervision import Signals, watch
from densenet_serving.server.torchserve import Server


def supervise(server: Server, gateway: Gateway, drain_delay: float, timeout: float) -> None:
    """Stay until SIGTERM, Ctrl-C or the end of the terminal, then end both.

    They are not ready for `drain_delay` seconds, and then drained for `timeout`. A second signal ends both at once.
    Raises ServingError if one of them ended by itself, or if requests were cut off.
    """
    signals = Signals()
    try:
        ended = watch({"TorchServe": server.process, "The gateway": gateway.process}, signals.end)
        if ended:
            raise ServingError(f"{ended} ended by itself, so both end: {server.logs} and the lines above tell more.")
        if not drain(server, gateway, signals, drain_delay, timeout):
            raise ServingError("Both ended before the last answer.")
    finally:
        gateway.stop(server.endpoint.folder)
        server.stop()


def drain(server: Server, gateway: Gateway, signals: Signals, delay: float, timeout: float) -> bool:
    """Return whether every accepted request was answered."""
    gateway.say_not_ready()
    if watch({"TorchServe": server.process, "The gateway": gateway.process}, signals.at_once, delay):
        return False
    return end(server.endpoint.folder, server, gateway, timeout, signals.at_once)


def end(
    run_dir: Path,
    server: Server | None,
    gateway: Gateway | None,
    timeout: float,
    at_once: threading.Event | None = None,
) -> bool:
    """End what runs after its last answer. The gateway goes first, which asks TorchServe; each has `timeout` seconds.

    Returns whether every accepted request was answered, and says if not.
    """
    cut_off = gateway.stop(run_dir, timeout, at_once) if gateway else None
    if cut_off is not None:
        say_cut_off(cut_off)
        if server:
            server.stop()
        return False
    return stop_gently(server, timeout) if server else True
