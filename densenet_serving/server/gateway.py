"""Start, find and stop the gateway's process, which fronts the TorchServe of its run folder."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import httpx
import psutil

from densenet_serving import paths
from densenet_serving.client import transport
from densenet_serving.errors import ServingError
from densenet_serving.files import private_file
from densenet_serving.gateway.settings import END_SOON, LOG_FILE, GatewaySettings
from densenet_serving.server import processes
from densenet_serving.server.ports import check_port_is_free

CONSOLE_FILE = "gateway-console.log"
LAST_LINES = 15
READY_SECONDS = 60
ASK_SECONDS = 10
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Gateway:
    """A running gateway."""

    process: psutil.Process
    url: str

    @classmethod
    def find(cls, run_dir: Path) -> Self | None:
        """Return the gateway that was started with this run folder, if it still runs."""
        if process := processes.find("gateway", run_dir):
            settings = json.loads(process.cmdline()[-1])
            return cls(process, GatewaySettings(run_dir, "", host=settings["host"], port=settings["port"]).url)
        return None

    @property
    def pid(self) -> int:
        return self.process.pid

    def say_not_ready(self) -> None:
        """Have /readyz answer 503, so that a load balancer sends new requests elsewhere. The others are answered."""
        if processes.runs(self.process):
            self.process.send_signal(END_SOON)

    def stop(self, timeout: float = processes.STOP_SECONDS, at_once: threading.Event | None = None) -> int | None:
        """Let it answer the requests that it has accepted, for `timeout` seconds or until `at_once`, then kill it.

        Returns how many connections were cut off, of which each had a request: a gateway that ends closes the others.
        None says that it ended by itself, after its last answer.
        """
        if processes.runs(self.process):
            self.process.terminate()
            processes.watch({"The gateway": self.process}, at_once or threading.Event(), timeout)
        if not processes.runs(self.process):
            return None
        cut_off = open_connections(self.process, urlsplit(self.url).port)
        processes.kill(self.process)
        return cut_off


def open_connections(process: psutil.Process, port: int | None) -> int:
    """Count the clients that are connected to a port of a process."""
    try:
        connections = process.net_connections("tcp")
    except psutil.Error:
        return 0
    return sum(one.status == psutil.CONN_ESTABLISHED and one.laddr.port == port for one in connections)


def start(settings: GatewaySettings) -> Gateway:
    """Start the gateway's process and return as soon as it runs. Raises ServingError.

    It writes to this process's stderr if the settings say foreground, and ends with this process. Otherwise it writes
    to a file.
    """
    check_port_is_free("--port", settings.address)
    with private_file(settings.run_dir / CONSOLE_FILE) as console:
        process = processes.spawn(
            "gateway",
            settings.run_dir,
            [sys.executable, "-m", "densenet_serving.gateway", settings.to_json()],
            cwd=paths.ROOT,
            output=sys.stderr.fileno() if settings.foreground else console,
            dies_with_parent=settings.foreground,
        )
    return Gateway(process, settings.url)


def wait_until_ready(gateway: Gateway, run_dir: Path, progress: Callable[[str], None]) -> None:
    """Wait until the gateway reaches TorchServe. If it ends, raises ServingError with what it printed."""
    deadline = time.monotonic() + READY_SECONDS
    while not is_ready(gateway):
        if not processes.runs(gateway.process):
            raise ServingError(f"The gateway ended while starting{last_words(run_dir)}")
        if time.monotonic() > deadline:
            raise ServingError(f"The gateway is not ready after {READY_SECONDS} s: {gateway.url}/readyz says why.")
        progress("Starting the gateway")
        time.sleep(POLL_SECONDS)


def is_ready(gateway: Gateway) -> bool:
    try:
        with transport.connect(timeout=ASK_SECONDS) as http:
            return http.get(f"{gateway.url}/readyz").is_success
    except httpx.TransportError:
        return False  # it does not listen yet


def last_words(run_dir: Path) -> str:
    """Return what a gateway said before it ended, from its console or its log, as the end of a sentence."""
    for name in (CONSOLE_FILE, LOG_FILE):
        path = run_dir / name
        if path.exists() and (said := path.read_text(errors="replace").strip()):
            return ":\n" + "\n".join(said.splitlines()[-LAST_LINES:])
    return ", and said nothing to the files in its run folder."
