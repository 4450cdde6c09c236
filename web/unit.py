"""The unit that scales: one TorchServe and its gateway, in the foreground. Neither is left without the other."""

from __future__ import annotations

from scripts.errors import ServingError
from scripts.server.drain import stop_gently
from scripts.server.supervision import Signals, watch
from scripts.server.torchserve import Server
from web.gateway import Gateway


def supervise(server: Server, gateway: Gateway, drain_delay: float, timeout: float) -> None:
    """Stay until SIGTERM or Ctrl-C, then end both: not ready for `drain_delay` seconds, then drained for `timeout`.

    A second signal ends both at once. Raises ServingError if one of them ended by itself, or if requests were cut off.
    """
    signals = Signals()
    try:
        ended = watch({"TorchServe": server.process, "The gateway": gateway.process}, signals.end)
        if ended:
            raise ServingError(f"{ended} ended by itself, so both end: {server.logs} and the lines above tell more.")
        if not drain(server, gateway, signals, drain_delay, timeout):
            raise ServingError("Both ended before the last answer: some requests were cut off.")
    finally:
        gateway.stop(server.endpoint.folder)
        server.stop()


def drain(server: Server, gateway: Gateway, signals: Signals, delay: float, timeout: float) -> bool:
    """Return whether every accepted request was answered. The gateway goes first: it asks TorchServe."""
    gateway.say_not_ready()
    parts = {"TorchServe": server.process, "The gateway": gateway.process}
    if watch(parts, signals.at_once, delay):
        return False
    if process := gateway.process():
        process.terminate()
    watch({"The gateway": gateway.process}, signals.at_once, timeout)
    if process := gateway.process():
        process.kill()
        return False
    return stop_gently(server, timeout)
